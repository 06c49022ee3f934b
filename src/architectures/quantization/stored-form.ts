// A form in which a checkpoint stores quantized weights: which tensors are beside each other, with which dtypes and shapes.
// Turns a weight's name into its codes and scales, and holds them against the checkpoint's tensors. Knows no method.

import { CheckpointError, UnsupportedModelError } from "../../errors.js";
import type { TensorShapes } from "../check-tensors.js";
import type { Coding, PackedIntegers, Scale, ScaledSource, TensorSource, ZeroPoint } from "../weight-source.js";

/** Outputs and inputs of a weight, and how many there are of it in a stack: [] or [experts]. */
export interface WeightSizes {
  readonly outputs: number;
  readonly inputs: number;
  readonly stack: readonly number[];
}

export interface StoredForm {
  /** For people, such as "FP8 with a scale for 128 × 128 weights". */
  readonly name: string;
  /**
   * The tensor of codes: what follows the name of the weight, its dtypes, and its shape and the order of the matrix where
   * these are others. A suffix that begins with a dot takes the place of `.weight`.
   */
  readonly codes: {
    readonly suffix: string;
    readonly dtypes: readonly string[];
    readonly shape?: (sizes: WeightSizes) => readonly number[];
    readonly stored?: TensorSource["stored"];
  };
  readonly coding: Coding;
  /** One number for all, or a tensor of integers for the elements of the scale. */
  readonly zeroPoint?: number | ZeroPointForm;
  readonly scales: readonly [ScaleForm, ...ScaleForm[]];
  /** The suffix of a tensor with the block of each input. */
  readonly blockOfInput?: string;
  /** Tensors that nothing reads, such as those that say how activations are quantized: their names within the module. */
  readonly ofActivations: readonly string[];
}

export interface ZeroPointForm {
  readonly suffix: string;
  readonly dtypes: readonly string[];
  readonly coding: "own-dtype" | PackedIntegers;
  readonly isLessByOne?: boolean;
}

export interface ScaleForm {
  /** What follows the name of the weight: one of these. */
  readonly suffixes: readonly [string, ...string[]];
  readonly dtypes: readonly string[];
  /** Outputs and inputs that share a scale. */
  readonly per: "tensor" | "output" | readonly [outputs: number, inputs: number];
  readonly means: "factor" | "divisor";
}

/** A weight in its form: its source, and tensors beside it that nothing reads. */
export interface WeightInForm {
  readonly source: ScaledSource;
  readonly unread: readonly string[];
}

export const FLOAT_DTYPES: readonly string[] = ["F32", "BF16", "F16"];
/** Exponents of 2 plus 127; PyTorch's dtype for them is new, so many are stored as bytes. */
export const EXPONENT_DTYPES: readonly string[] = ["F8_E8M0", "U8"];

/**
 * The codes and scales of a weight. @param where says what says that it has this form
 * @returns undefined where the checkpoint has the weight as numbers, and no codes of it
 * @throws CheckpointError naming the tensor that contradicts the form
 */
export function weightInForm(
  form: StoredForm,
  weight: TensorSource,
  tensors: TensorShapes,
  where: string,
): WeightInForm | undefined {
  const { codes, coding, scales } = form;
  const sizes = sizesOf(weight);
  const stored = codes.stored ?? (codes.shape === undefined ? weight.stored : "outputs-first");
  const name = nameBeside(weight, codes.suffix);
  const found = tensors.get(name);
  if (found === undefined || FLOAT_DTYPES.includes(found.dtype)) {
    const scale = scales.flatMap(({ suffixes }) => nameOfScale(weight, suffixes, tensors) ?? [])[0];
    if (scale === undefined) return undefined;
    const instead = found === undefined ? "there is none" : `found ${found.dtype}`;
    throw new CheckpointError(
      `${tensors.get(scale)?.file}: tensor "${name}" beside "${scale}": expected ${codes.dtypes.join(" or ")} by ${where} (${form.name}), ${instead}`,
    );
  }
  const shape = codes.shape?.(sizes) ?? weight.shape;
  const facts: FormFacts = { form, weight, sizes, tensors, where };
  if (typeof coding === "object") requireWholeWords(coding, name, facts);
  const matrix = stored === "outputs-first" ? [sizes.outputs, sizes.inputs] : [sizes.inputs, sizes.outputs];
  const source: ScaledSource = {
    kind: "scaled",
    shape: [...sizes.stack, ...matrix],
    stored,
    codes: { kind: "tensor", name, shape, stored, dtypes: codes.dtypes },
    coding,
    ...(form.zeroPoint !== undefined && { zeroPoint: zeroPointInForm(form.zeroPoint, stored, facts) }),
    scales: mapped(scales, (scale) => scaleInForm(scale, facts)),
    ...(form.blockOfInput !== undefined && { blockOfInput: blockOfInputInForm(form.blockOfInput, facts) }),
  };
  const prefix = weight.name.endsWith(".weight") ? weight.name.slice(0, -"weight".length) : `${weight.name}_`;
  return { source, unread: form.ofActivations.map((part) => `${prefix}${part}`) };
}

/** The tensor of codes that stands in the place of a weight, whatever its form; undefined where there is none. */
export function codesInPlaceOf(
  weight: string,
  tensors: TensorShapes,
): { readonly name: string; readonly dtype: string; readonly file: string } | undefined {
  const module = weight.replace(/\.weight$/, "");
  for (const name of [weight, `${weight}_packed`, `${weight}_blocks`, `${module}.qweight`]) {
    const found = tensors.get(name);
    if (found !== undefined && !FLOAT_DTYPES.includes(found.dtype))
      return { name, dtype: found.dtype, file: found.file };
  }
  return undefined;
}

function sizesOf({ shape, stored }: TensorSource): WeightSizes {
  const [first = 1, second = 1] = shape.slice(-2);
  const [outputs, inputs] = stored === "outputs-first" ? [first, second] : [second, first];
  return { outputs, inputs, stack: shape.slice(0, -2) };
}

interface FormFacts {
  readonly form: StoredForm;
  readonly weight: TensorSource;
  readonly sizes: WeightSizes;
  readonly tensors: TensorShapes;
  readonly where: string;
}

function scaleInForm({ suffixes, dtypes, per, means }: ScaleForm, facts: FormFacts): Scale {
  const { form, weight, sizes, tensors, where } = facts;
  const names = suffixes.map((suffix) => `"${nameBeside(weight, suffix)}"`).join(" or ");
  const name = nameOfScale(weight, suffixes, tensors);
  const found = name === undefined ? undefined : tensors.get(name);
  if (name === undefined || found === undefined) {
    const codes = nameBeside(weight, form.codes.suffix);
    throw new CheckpointError(
      `${tensors.get(codes)?.file}: tensor "${codes}": expected ${names} beside it by ${where} (${form.name}), found none`,
    );
  }
  const { stack } = sizes;
  const blocks = blocksOf(per, sizes);
  const count = productOf(found.shape);
  if (count !== productOf([...stack, ...blocks]) && !(count === 1 && productOf(blocks) === 1)) {
    throw new CheckpointError(
      `${found.file}: tensor "${name}": expected ${[...stack, ...blocks].join(" × ")} scales by ${where} (${form.name}), found shape [${found.shape.join(", ")}]`,
    );
  }
  if (!dtypes.includes(found.dtype)) {
    throw new CheckpointError(
      `${found.file}: tensor "${name}": expected ${dtypes.join(" or ")} by ${where} (${form.name}), found ${found.dtype}`,
    );
  }
  return {
    tensor: { kind: "tensor", name, shape: found.shape, stored: "outputs-first", dtypes },
    per: sharedBy(per, sizes),
    means: EXPONENT_DTYPES.includes(found.dtype) ? "exponent" : means,
  };
}

function nameOfScale(weight: TensorSource, suffixes: readonly string[], tensors: TensorShapes): string | undefined {
  return suffixes.map((suffix) => nameBeside(weight, suffix)).find((name) => tensors.get(name) !== undefined);
}

function nameBeside({ name }: TensorSource, suffix: string): string {
  return suffix.startsWith(".") ? `${name.replace(/\.weight$/, "")}${suffix}` : `${name}${suffix}`;
}

/** Sizes that fill no whole words would leave integers that stand for nothing. */
function requireWholeWords({ bits, axis }: PackedIntegers, name: string, { form, sizes, tensors }: FormFacts): void {
  const inWord = 32 / bits;
  const isOfOutputs = (form.codes.stored ?? "outputs-first") === "outputs-first" ? axis === 0 : axis === 1;
  const size = isOfOutputs ? sizes.outputs : sizes.inputs;
  if (size % inWord === 0) return;
  const what = isOfOutputs ? "outputs" : "inputs";
  throw new UnsupportedModelError(
    `${tensors.get(name)?.file}: tensor "${name}": ${size} ${what} are no multiple of ${inWord}, the integers of a word, which is not supported. Calibrate the 16-bit checkpoint that these weights were made from.`,
  );
}

/** One for each element of the scale. */
function zeroPointInForm(
  zeroPoint: number | ZeroPointForm,
  stored: TensorSource["stored"],
  { form, weight, sizes, tensors, where }: FormFacts,
): ZeroPoint {
  if (typeof zeroPoint === "number") return zeroPoint;
  const { suffix, dtypes, coding, isLessByOne = false } = zeroPoint;
  const name = nameBeside(weight, suffix);
  const found = tensors.get(name);
  const expected = `${dtypes.join(" or ")} by ${where} (${form.name})`;
  if (found === undefined) {
    const codes = nameBeside(weight, form.codes.suffix);
    throw new CheckpointError(
      `${tensors.get(codes)?.file}: tensor "${codes}": expected "${name}" beside it, ${expected}, found none`,
    );
  }
  const [blocksOfOutputs, blocksOfInputs] = blocksOf(form.scales[0].per, sizes);
  const matrix = stored === "outputs-first" ? [blocksOfOutputs, blocksOfInputs] : [blocksOfInputs, blocksOfOutputs];
  const shape =
    coding === "own-dtype"
      ? found.shape
      : matrix.map((size, axis) => (axis === coding.axis ? Math.ceil((size * coding.bits) / 32) : size));
  if (coding === "own-dtype" && productOf(found.shape) !== productOf(matrix)) {
    throw new CheckpointError(
      `${found.file}: tensor "${name}": expected ${matrix.join(" × ")} zero points, ${expected}, found shape [${found.shape.join(", ")}]`,
    );
  }
  return { tensor: { kind: "tensor", name, shape, stored: "outputs-first", dtypes }, coding, isLessByOne };
}

function blockOfInputInForm(suffix: string, { weight, sizes }: FormFacts): TensorSource {
  const name = nameBeside(weight, suffix);
  return { kind: "tensor", name, shape: [sizes.inputs], stored: "outputs-first", dtypes: ["I32"] };
}

/** Outputs and inputs that share a scale: no more than there are. */
function sharedBy(per: ScaleForm["per"], { outputs, inputs }: WeightSizes): [outputs: number, inputs: number] {
  const [ofOutputs, ofInputs] = per === "tensor" ? [outputs, inputs] : per === "output" ? [1, inputs] : per;
  return [Math.min(ofOutputs, outputs), Math.min(ofInputs, inputs)];
}

/** The blocks of a matrix along both axes. */
function blocksOf(per: ScaleForm["per"], sizes: WeightSizes): [ofOutputs: number, ofInputs: number] {
  const [outputs, inputs] = sharedBy(per, sizes);
  return [Math.ceil(sizes.outputs / outputs), Math.ceil(sizes.inputs / inputs)];
}

function productOf(sizes: readonly number[]): number {
  return sizes.reduce((product, size) => product * size, 1);
}

function mapped<Item, Result>(
  [first, ...others]: readonly [Item, ...Item[]],
  map: (item: Item) => Result,
): [Result, ...Result[]] {
  return [map(first), ...others.map(map)];
}
