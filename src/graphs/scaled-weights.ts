// Quantized weights in a graph: codes and scales of the checkpoint as they are stored, and the nodes that make numbers of
// them. ONNX Runtime never folds DequantizeLinear, so weights stay in memory as codes. Never touches the bytes.

import {
  blocksOfScale,
  outputRange,
  outputsAxis,
  type PackedIntegers,
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
  const zero = selectZeroPoint(selected, scale);
  if (whole.blockOfInput !== undefined) return dequantizeByInput(selected, codes, scale, zero, whole.blockOfInput);
  const blocks = whole.scales.map((each) => blocksOfScale(whole, each).slice(-2));
  const dequantized = (attributes: Record<string, number>, shape?: readonly number[]) => {
    const factors = [scale, ...(zero === undefined ? [] : [zero])];
    const shaped = shape === undefined ? factors : factors.map((each) => reshaped(builder, each, shape));
    return builder.op("DequantizeLinear", [codes, ...shaped], { attributes });
  };
  if (blocks.some((counts) => counts[selected.axes.inputs] !== 1)) {
    const [first = 1, second = 1] = shapeOf(source);
    const { inputs: axis } = selected.axes;
    const shape = [first, second] as const;
    const numbers = zero && toFloat32(builder, zero);
    return dequantizeByBlock(builder, { codes, scale, zero: numbers, shape, axis, size: inputsPerBlock(selected) });
  }
  if (blocks.every((counts) => counts[outputs] === 1)) return dequantized({}, []);
  return dequantized({ axis: outputs }, [-1]);
}

/**
 * The same where each input names its block. Both operands pass through DequantizeLinear, which is never folded: else the
 * factors of all weights would be made when the session opens, and be kept.
 */
function dequantizeByInput(
  { builder, weights, axes }: Selected,
  codes: Value,
  scale: Value,
  zero: Value | undefined,
  blockOfInput: TensorSource,
): Value {
  const numbersOf = (integers: Value) => builder.op("DequantizeLinear", [integers, builder.float32(1)]);
  const numbersOfBlocks = numbersOf(weights.select(blockOfInput));
  const block = builder.op("Cast", [numbersOfBlocks], { attributes: { to: ELEMENT_TYPES.int64 } });
  const ofInputs = (value: Value) => builder.op("Gather", [value, block], { attributes: { axis: axes.inputs } });
  const numbers = numbersOf(codes);
  const centered = zero === undefined ? numbers : builder.op("Sub", [numbers, ofInputs(toFloat32(builder, zero))]);
  return builder.op("Mul", [centered, ofInputs(scale)]);
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

/** The number of a scale's blocks along outputs and inputs of a matrix. */
function blocksAlong({ whole, axes }: Selected, scale: Scale): [ofOutputs: number, ofInputs: number] {
  const shape = blocksOfScale(whole, scale);
  return [shape.at(axes.outputs - 2) ?? 1, shape.at(axes.inputs - 2) ?? 1];
}

/** Of the selected outputs; of a single block for the whole matrix, [1, 1]. */
function selectScale(selected: Selected, scale: Scale): Value {
  const { weights, source, whole, axes } = selected;
  const shape = blocksOfScale(whole, scale);
  const blocks: TensorSource = { ...scale.tensor, shape, stored: whole.stored };
  const [ofOutputs, ofInputs] = blocksAlong(selected, scale);
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

// --- zero points --------------------------------------------------------------------------------------------------------

/** Of the codes' type, one for each element of the scale. */
function selectZeroPoint(selected: Selected, scale: Value): Value | undefined {
  const { builder, source, whole, axes } = selected;
  const { zeroPoint, coding } = whole;
  if (zeroPoint === undefined) return undefined;
  if (typeof zeroPoint === "number") {
    const constant = builder.op("Cast", [builder.int32(zeroPoint)], {
      attributes: { to: ELEMENT_TYPES[typeof coding === "object" ? "uint8" : "int8"] },
    });
    return builder.op("Expand", [constant, builder.op("Shape", [scale])]);
  }
  const [ofOutputs, ofInputs] = blocksAlong(selected, whole.scales[0]);
  const matrix = axes.outputs === 0 ? [ofOutputs, ofInputs] : [ofInputs, ofOutputs];
  const all = reshaped(builder, allZeroPoints(selected, zeroPoint, matrix), matrix);
  const range = outputRange(source);
  if (ofOutputs === 1 || range === undefined) return all;
  const bounds = [range.start, range.end, axes.outputs].map((number) => builder.int64s([number]));
  return builder.op("Slice", [all, ...bounds]);
}

/** Of the whole matrix; packed ones are unpacked by arithmetic, since they are few. */
function allZeroPoints(
  { builder, weights }: Selected,
  { tensor, coding, isLessByOne }: Exclude<ScaledSource["zeroPoint"], number | undefined>,
  matrix: readonly number[],
): Value {
  if (coding === "own-dtype") return weights.select(tensor);
  const places = Array.from({ length: 32 / coding.bits }, (_, place) => coding.bits * place);
  const cast = (value: Value, to: ElementType) =>
    builder.op("Cast", [value], { attributes: { to: ELEMENT_TYPES[to] } });
  const stored = cast(weights.select(tensor, "uint32"), "int64");
  // As GPTQModel adds one to each integer of a word: to the word, with what is carried from one to the next.
  const ones = places.reduce((sum, place) => sum + 2 ** place, 0);
  const words = isLessByOne
    ? builder.op("Mod", [builder.op("Add", [stored, builder.int64(ones)]), builder.int64(2 ** 32)])
    : stored;
  const apart = builder.op("Unsqueeze", [words, builder.int64s([2])]);
  const shifted = builder.op("Div", [apart, builder.int64s(places.map((place) => 2 ** place))]);
  const integers = cast(builder.op("Mod", [shifted, builder.int64(2 ** coding.bits)]), "uint8"); // [rows, columns, n]
  const [rows = 1, columns = 1] = tensor.shape;
  const inOrder = arranged(builder, integers, coding, [rows, columns]);
  // The last word may have integers that stand for nothing.
  const sizes = builder.int64s([matrix[coding.axis] ?? 1]);
  return builder.op("Slice", [inOrder, builder.int64s([0]), sizes, builder.int64s([coding.axis])]);
}

// --- codes --------------------------------------------------------------------------------------------------------------

/** What DequantizeLinear takes, and the number that 1 of it stands for. */
interface Codes {
  readonly codes: Value;
  readonly unit: number;
}

function selectCodes({ builder, weights, source, whole }: Selected): Codes {
  const { codes, coding } = whole;
  if (typeof coding === "object")
    return { codes: selectIntegers({ builder, weights, source, whole }, coding), unit: 1 };
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

/** uint8, in the order of the matrix. */
function selectIntegers(
  { builder, weights, source, whole }: Pick<Selected, "builder" | "weights" | "source" | "whole">,
  coding: PackedIntegers,
): Value {
  const { codes } = whole;
  const inWord = 32 / coding.bits;
  const view: ElementType = coding.bits === 4 ? "uint4" : "uint8";
  const asBytes = (value: Value) =>
    view === "uint8" ? value : builder.op("Cast", [value], { attributes: { to: ELEMENT_TYPES.uint8 } });
  if (coding.axis === 1 && coding.order === "in-order") {
    return asBytes(weights.select(sameSelection(source, { ...codes, shape: whole.shape }), view));
  }
  // Outputs are no byte range: of such words the whole matrix is read.
  const [rows = 1, columns = 1] = codes.shape;
  const integers = asBytes(weights.select({ ...codes, shape: [rows, columns, inWord] }, view));
  return arranged(builder, integers, coding, [rows, columns]);
}

/** Integers of words, [rows, columns, n], in their places. [rows × n, columns] or [rows, columns × n] */
function arranged(
  builder: GraphBuilder,
  integers: Value,
  { bits, axis, order }: PackedIntegers,
  [rows, columns]: readonly [number, number],
): Value {
  const inWord = 32 / bits;
  const transposed = (value: Value, perm: readonly number[]) =>
    builder.op("Transpose", [value], { attributes: { perm } });
  // Even ones before odd ones are two rows of a table that is read by columns.
  const inOrder =
    order === "in-order"
      ? integers
      : transposed(reshaped(builder, integers, [rows, columns, 2, inWord / 2]), [0, 1, 3, 2]);
  if (axis === 1) return reshaped(builder, inOrder, [rows, columns * inWord]);
  const apart = reshaped(builder, inOrder, [rows, columns, inWord]);
  return reshaped(builder, transposed(apart, [0, 2, 1]), [rows * inWord, columns]);
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

function toFloat32(builder: GraphBuilder, value: Value): Value {
  return builder.op("Cast", [value], { attributes: { to: ELEMENT_TYPES.float32 } });
}

function reshaped(builder: GraphBuilder, value: Value, shape: readonly number[]): Value {
  return builder.op("Reshape", [value, builder.int64s(shape)]);
}
