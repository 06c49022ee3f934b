// The location of a weight as data: a tensor of the checkpoint, codes and their scales, some of its rows, every n-th group
// of rows, one matrix of a stack. A weight is a matrix of [outputs, inputs], however it is stored. Knows no files and no
// graphs.

export type WeightSource =
  | StoredSource
  /** Outputs `start` to `end` of another source: a byte range of the same file if outputs are stored first. */
  | { readonly kind: "rows"; readonly of: WeightSource; readonly start: number; readonly end: number }
  /**
   * Outputs in `groups` groups of equal size: those from `start` to `end` of each. The queries of a `query_key_value`
   * that is stored head by head: groups = heads, rows 0 to head_dim of 3 × head_dim. Every second row: groups of two.
   */
  | {
      readonly kind: "interleaved";
      readonly of: WeightSource;
      readonly groups: number;
      readonly start: number;
      readonly end: number;
    }
  /**
   * One matrix of a stack: a byte range. The first axis is the matrix's number; or it has the rows of all `count`
   * matrices, one after the other.
   */
  | { readonly kind: "expert"; readonly of: StoredSource; readonly index: number; readonly count?: number }
  /** Tensors of one shape stacked along a new first axis: one per head, where heads have their own weights. */
  | { readonly kind: "stacked"; readonly of: readonly [StoredSource, ...StoredSource[]] };

/** A whole weight, or a stack of them, as the checkpoint stores it. */
export type StoredSource = TensorSource | ScaledSource;

export interface TensorSource {
  readonly kind: "tensor";
  readonly name: string;
  /**
   * Shape in the checkpoint: [outputs, inputs], [inputs, outputs], [outputs], or one of these after an axis of experts.
   */
  readonly shape: readonly number[];
  /** GPT-2's Conv1D and some stacks of experts are stored inputs-first. */
  readonly stored: "outputs-first" | "inputs-first";
  /** dtypes that it may have; absent: floating-point numbers of 16 or 32 bits. */
  readonly dtypes?: readonly string[];
}

/** Quantized weights: each number is that of its code times its scales. They are multiplied inside the graph. */
export interface ScaledSource {
  readonly kind: "scaled";
  /** Of the numbers, in the order of `stored`: a matrix, or an axis of experts before it. */
  readonly shape: readonly number[];
  readonly stored: TensorSource["stored"];
  readonly codes: TensorSource;
  readonly coding: Coding;
  /** Is taken from the number of a code before it is multiplied. */
  readonly zeroPoint?: ZeroPoint;
  readonly scales: readonly [Scale, ...Scale[]];
  /** The block of each input, where those of a block are not neighbours. int32 [inputs] */
  readonly blockOfInput?: TensorSource;
}

/**
 * The number of a code: that of its dtype (FP8, int8); two codes of FP4 (E2M1) in each byte, the first in the lower half;
 * or unsigned integers in words.
 */
export type Coding = "own-dtype" | "e2m1-pairs" | PackedIntegers;

/** Unsigned integers in words of 32 bits, the first in the lowest. */
export interface PackedIntegers {
  readonly bits: 4 | 8;
  /** The axis of the tensor of words along which the integers of a word lie. */
  readonly axis: 0 | 1;
  /** "even-first": 0, 2, 4, 6, 1, 3, 5, 7. */
  readonly order: "in-order" | "even-first";
}

/** One number for all, or a tensor with one for each element of the scale. */
export type ZeroPoint =
  | number
  | {
      readonly tensor: TensorSource;
      readonly coding: "own-dtype" | PackedIntegers;
      /** Whether the integers that are stored are less by one. */
      readonly isLessByOne: boolean;
    };

export interface Scale {
  /** Its elements lie in the order of the matrix's blocks, whatever its shape; of a stack, one matrix after the other. */
  readonly tensor: TensorSource;
  /** Outputs and inputs of a matrix that share an element: a block. The last blocks may be smaller. */
  readonly per: readonly [outputs: number, inputs: number];
  /** Elements are multiplied by, divided by, or are exponents of 2 plus 127 (E8M0), each in a byte. */
  readonly means: "factor" | "divisor" | "exponent";
}

/** A whole tensor, outputs first. */
export function tensorSource(name: string, shape: readonly number[]): TensorSource {
  return { kind: "tensor", name, shape, stored: "outputs-first" };
}

/** The whole weight that a source is of; the first if there are several. */
export function wholeOf(source: WeightSource): StoredSource {
  if (source.kind === "tensor" || source.kind === "scaled") return source;
  return source.kind === "stacked" ? source.of[0] : wholeOf(source.of);
}

/** What a source selects of its whole weight, of another tensor with the same outputs. */
export function sameSelection(source: WeightSource, whole: TensorSource): WeightSource {
  switch (source.kind) {
    case "tensor":
    case "scaled":
      return whole;
    case "expert":
      return { ...source, of: whole };
    case "stacked":
      throw new RangeError("stacked weights are no selection of one");
    default:
      return { ...source, of: sameSelection(source.of, whole) };
  }
}

/** The outputs of the stored matrix that a source selects, if they are a byte range of the file. */
export function outputRange(source: WeightSource): { readonly start: number; readonly end: number } | undefined {
  switch (source.kind) {
    case "tensor":
    case "scaled":
      return { start: 0, end: shapeOf(source)[outputsAxis(source)] ?? 1 };
    case "expert": {
      const size = shapeOf(source)[outputsAxis(source)] ?? 1;
      const start = source.count === undefined ? 0 : source.index * size;
      return { start, end: start + size };
    }
    case "rows": {
      const of = outputsAxis(source.of) === 0 ? outputRange(source.of) : undefined;
      return of && { start: of.start + source.start, end: of.start + source.end };
    }
    default:
      return undefined;
  }
}

/** Every tensor of the checkpoint that a source reads. */
export function storedTensors(source: WeightSource): readonly TensorSource[] {
  switch (source.kind) {
    case "tensor":
      return [source];
    case "scaled": {
      const { codes, scales, zeroPoint, blockOfInput } = source;
      const zeros = typeof zeroPoint === "object" ? [zeroPoint.tensor] : [];
      return [codes, ...scales.map(({ tensor }) => tensor), ...zeros, ...(blockOfInput ? [blockOfInput] : [])];
    }
    case "stacked":
      return source.of.flatMap(storedTensors);
    default:
      return storedTensors(source.of);
  }
}

/**
 * The blocks of a scale along both axes of a matrix, in the order in which the matrix is stored; the matrices of a stack
 * before them, if each has its own.
 * @throws RangeError when the tensor has another number of elements
 */
export function blocksOfScale(scaled: ScaledSource, { tensor, per }: Scale): number[] {
  const matrix = scaled.shape.slice(-2);
  const sizes = scaled.stored === "outputs-first" ? per : per.toReversed();
  const blocks = matrix.map((size, axis) => Math.ceil(size / (sizes[axis] ?? 1)));
  const [found, ofMatrix] = [productOf(tensor.shape), productOf(blocks)];
  const stack = scaled.shape.slice(0, -2);
  if (found === productOf(stack) * ofMatrix) return [...stack, ...blocks];
  if (found === 1 && ofMatrix === 1) return blocks;
  throw new RangeError(`scales of shape [${tensor.shape.join(", ")}] for [${[...stack, ...blocks].join(", ")}] blocks`);
}

/** The shape of a source: [outputs, inputs] or [outputs] if outputs are stored first. */
export function shapeOf(source: WeightSource): readonly number[] {
  switch (source.kind) {
    case "tensor":
    case "scaled":
      return source.shape;
    case "expert":
      return shapeOfExpert(source);
    case "stacked":
      return [source.of.length, ...shapeOf(source.of[0])];
    case "rows":
      return withOutputs(source.of, source.end - source.start);
    case "interleaved":
      return withOutputs(source.of, source.groups * (source.end - source.start));
  }
}

function shapeOfExpert({ of, count }: Extract<WeightSource, { kind: "expert" }>): readonly number[] {
  const [first = 0, ...rest] = of.shape;
  return count === undefined ? rest : [first / count, ...rest];
}

/** The axis of the outputs in `shapeOf`. */
export function outputsAxis(source: WeightSource): 0 | 1 {
  return shapeOf(source).length > 1 && wholeOf(source).stored === "inputs-first" ? 1 : 0;
}

function withOutputs(source: WeightSource, outputs: number): number[] {
  const axis = outputsAxis(source);
  return shapeOf(source).map((size, index) => (index === axis ? outputs : size));
}

/** The number of elements of a source. */
export function elementsOf(source: WeightSource): number {
  return productOf(shapeOf(source));
}

function productOf(sizes: readonly number[]): number {
  return sizes.reduce((product, size) => product * size, 1);
}
