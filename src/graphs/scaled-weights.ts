// Quantized weights in a graph: codes and scales of the checkpoint as they are stored, and the nodes that make numbers of
// them. ONNX Runtime never folds DequantizeLinear, so weights stay in memory as codes. Never touches the bytes.

import {
  blocksOfScale,
  outputRange,
  outputsAxis,
  type Scale,
  type ScaledSource,
  sameSelection,
  shapeOf,
  type TensorSource,
  type WeightSource,
} from "../architectures/weight-source.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import { ELEMENT_TYPES, type ElementType } from "../onnx/model-proto.js";
import { dequantizeByBlock } from "./dequantize-by-block.js";

/** Selects parts of the checkpoint's tensors, as GraphWeights does. */
export interface TensorSelection {
  select(source: WeightSource, view?: ElementType): Value;
  selectOutputs(value: Value, source: Extract<WeightSource, { kind: "rows" | "interleaved" }>): Value;
  storedType(name: string): ElementType;
}

/** A weight whose numbers are to be made: what is selected of which codes and scales. */
interface Selected {
  readonly builder: GraphBuilder;
  readonly weights: TensorSelection;
  readonly source: WeightSource;
  readonly whole: ScaledSource;
  /** The axes of a stored matrix. */
  readonly axes: { readonly outputs: 0 | 1; readonly inputs: 0 | 1 };
}

/**
 * The numbers of a source whose whole weight is codes with scales, in the order in which the codes are stored. float32
 * @param source what is selected of `whole`
 */
export function scaledWeight(
  builder: GraphBuilder,
  weights: TensorSelection,
  source: WeightSource,
  whole: ScaledSource,
): Value {
  if ((source.kind === "rows" || source.kind === "interleaved") && !canSelectCodes(source, whole)) {
    return weights.selectOutputs(scaledWeight(builder, weights, source.of, whole), source);
  }
  const outputs = outputsAxis(source);
  const selected: Selected = {
    ...{ builder, weights, source, whole },
    axes: { outputs, inputs: outputs === 0 ? 1 : 0 },
  };
  const { codes, unit } = selectCodes(selected);
  const scale = productOfScales(selected, unit);
  const blocks = whole.scales.map((each) => blocksOfScale(whole, each).slice(-2));
  const dequantized = (factor: Value, attributes: Record<string, number>) =>
    builder.op("DequantizeLinear", [codes, factor], { attributes });
  if (blocks.some((counts) => counts[selected.axes.inputs] !== 1)) {
    const [first = 1, second = 1] = shapeOf(source);
    const { inputs: axis } = selected.axes;
    return dequantizeByBlock(builder, { codes, scale, shape: [first, second], axis, size: inputsPerBlock(selected) });
  }
  if (blocks.every((counts) => counts[outputs] === 1)) return dequantized(reshaped(builder, scale, []), {});
  return dequantized(reshaped(builder, scale, [-1]), { axis: outputs });
}

/** ONNX's Slice knows no FP8, and blocks of outputs that are no range of them have no scales in a row. */
function canSelectCodes(source: WeightSource, { coding, scales }: ScaledSource): boolean {
  return outputRange(source) !== undefined || (coding === "e2m1-pairs" && scales.every(({ per }) => per[0] === 1));
}

/** @throws RangeError where two scales are for different blocks of inputs */
function inputsPerBlock({ whole, axes }: Selected): number {
  const several = whole.scales.filter((scale) => blocksOfScale(whole, scale).at(axes.inputs - 2) !== 1);
  const sizes = new Set(several.map(({ per }) => per[1]));
  const [size] = sizes;
  if (size === undefined || sizes.size > 1) throw new RangeError(`scales of ${[...sizes].join(" and ")} inputs each`);
  return size;
}

// --- scales -------------------------------------------------------------------------------------------------------------

/** All scales and `unit`, multiplied: [outputs or 1, blocks of inputs or 1] in stored order. */
function productOfScales(selected: Selected, unit: number): Value {
  const { builder, whole } = selected;
  return whole.scales.reduce(
    (product, scale) => builder.op(scale.means === "divisor" ? "Div" : "Mul", [product, selectScale(selected, scale)]),
    builder.float32(unit),
  );
}

/** Of the selected outputs; of a single block for the whole matrix, [1, 1]. */
function selectScale(selected: Selected, scale: Scale): Value {
  const { weights, source, whole, axes } = selected;
  const shape = blocksOfScale(whole, scale);
  const blocks: TensorSource = { ...scale.tensor, shape, stored: whole.stored };
  const [ofOutputs, ofInputs] = [shape.at(axes.outputs - 2) ?? 1, shape.at(axes.inputs - 2) ?? 1];
  const isSingle = ofOutputs === 1 && ofInputs === 1;
  if (!isSingle && ofOutputs === whole.shape.at(axes.outputs - 2)) {
    return numbersOf(selected, scale, weights.select(sameSelection(source, blocks)));
  }
  const ofMatrix = weights.select(shape.length > 2 ? sameSelection(matrixOf(source), blocks) : blocks);
  const numbers = numbersOf(selected, scale, ofMatrix);
  return isSingle ? numbers : selectRepeated(selected, numbers, scale, { ofOutputs, ofInputs });
}

/** The matrix that outputs are selected of. */
function matrixOf(source: WeightSource): WeightSource {
  return source.kind === "rows" || source.kind === "interleaved" ? matrixOf(source.of) : source;
}

/** The elements of a scale's tensor as factors or divisors. float32 */
function numbersOf({ builder, weights }: Selected, { tensor, means }: Scale, elements: Value): Value {
  if (means !== "exponent") {
    const type = weights.storedType(tensor.name);
    return type === "float32"
      ? elements
      : builder.op("Cast", [elements], { attributes: { to: ELEMENT_TYPES.float32 } });
  }
  const powers = Float32Array.from({ length: 256 }, (_, byte) => (byte === 255 ? Number.NaN : 2 ** (byte - 127)));
  const bytes = builder.op("Cast", [elements], { attributes: { to: ELEMENT_TYPES.int32 } });
  return builder.op("Gather", [builder.float32Table("powers_of_two", powers), bytes]);
}

/** Along both axes of a matrix. */
interface BlockCounts {
  readonly ofOutputs: number;
  readonly ofInputs: number;
}

/** Each block's number once for each of its outputs, of those that the source selects. */
function selectRepeated(selected: Selected, value: Value, { per }: Scale, counts: BlockCounts): Value {
  const { builder, source, whole, axes } = selected;
  const { ofOutputs, ofInputs } = counts;
  const outputs = whole.shape.at(axes.outputs - 2) ?? 1;
  const times = Math.min(per[0], outputs);
  const inOrder = (ofOutput: readonly number[]) =>
    axes.outputs === 0 ? [...ofOutput, ofInputs] : [ofInputs, ...ofOutput];
  const apart = builder.op("Unsqueeze", [value, builder.int64s([axes.outputs + 1])]);
  const copied = builder.op("Expand", [apart, builder.int64s(inOrder([ofOutputs, times]))]);
  const all = reshaped(builder, copied, inOrder([ofOutputs * times]));
  const { start, end } = outputRange(source) ?? { start: 0, end: outputs };
  const range = [start, end, axes.outputs].map((number) => builder.int64s([number]));
  return builder.op("Slice", [all, ...range]);
}

// --- codes --------------------------------------------------------------------------------------------------------------

/** What DequantizeLinear takes, and the number that 1 of it stands for. */
interface Codes {
  readonly codes: Value;
  readonly unit: number;
}

function selectCodes({ builder, weights, source, whole }: Selected): Codes {
  const { codes, coding } = whole;
  switch (coding) {
    case "own-dtype":
      return { codes: weights.select(sameSelection(source, codes)), unit: 1 };
    case "e2m1-pairs": {
      const shape = [...whole.shape.slice(0, -1), (whole.shape.at(-1) ?? 0) / E2M1_CODES_IN_WORD];
      const words = weights.select(sameSelection(source, { ...codes, shape }), "uint16");
      const numbers = builder.op("Cast", [words], { attributes: { to: ELEMENT_TYPES.int32 } });
      const halves = builder.op("Gather", [halvesOfE2m1(builder), numbers]); // [outputs, words, 4]
      return { codes: reshaped(builder, halves, shapeOf(source)), unit: 0.5 };
    }
  }
}

/** Codes that are looked up at a time. */
const E2M1_CODES_IN_WORD = 4;
/** Twice the number of each code, an integer. A sign of zero is lost, which changes no sum. */
const TWICE_E2M1: readonly number[] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** The table of all words of four codes, the first in the lowest bits. int8 [65536, 4] */
function halvesOfE2m1(builder: GraphBuilder): Value {
  const codes = Array.from({ length: E2M1_CODES_IN_WORD }, (_, place) => 4 * place);
  const table = new Int8Array(2 ** 16 * E2M1_CODES_IN_WORD);
  for (let word = 0; word < 2 ** 16; word++) {
    for (const [place, shift] of codes.entries()) {
      table[word * E2M1_CODES_IN_WORD + place] = TWICE_E2M1[(word >> shift) & 15] ?? 0;
    }
  }
  return builder.int8Table("twice_e2m1", [2 ** 16, E2M1_CODES_IN_WORD], table);
}

function reshaped(builder: GraphBuilder, value: Value, shape: readonly number[]): Value {
  return builder.op("Reshape", [value, builder.int64s(shape)]);
}
