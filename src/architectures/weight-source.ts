// The location of a weight as data: a tensor of the checkpoint, some of its rows, every n-th group of rows, one matrix
// of a stack. A weight is a matrix of [outputs, inputs], however it is stored. Knows no files and no graphs.

export type WeightSource =
  | TensorSource
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
  | { readonly kind: "expert"; readonly of: TensorSource; readonly index: number; readonly count?: number }
  /** Tensors of one shape stacked along a new first axis: one per head, where heads have their own weights. */
  | { readonly kind: "stacked"; readonly of: readonly [TensorSource, ...TensorSource[]] };

export interface TensorSource {
  readonly kind: "tensor";
  readonly name: string;
  /**
   * Shape in the checkpoint: [outputs, inputs], [inputs, outputs], [outputs], or one of these after an axis of experts.
   */
  readonly shape: readonly number[];
  /** GPT-2's Conv1D and some stacks of experts are stored inputs-first. */
  readonly stored: "outputs-first" | "inputs-first";
}

/** A whole tensor, outputs first. */
export function tensorSource(name: string, shape: readonly number[]): TensorSource {
  return { kind: "tensor", name, shape, stored: "outputs-first" };
}

/** The checkpoint's tensor that contains a source; the first if there are several. */
export function storedTensor(source: WeightSource): TensorSource {
  if (source.kind === "tensor") return source;
  return source.kind === "stacked" ? source.of[0] : storedTensor(source.of);
}

/** Every tensor of the checkpoint that a source reads. */
export function storedTensors(source: WeightSource): readonly TensorSource[] {
  if (source.kind === "tensor") return [source];
  return source.kind === "stacked" ? source.of : storedTensors(source.of);
}

/** The shape of a source: [outputs, inputs] or [outputs] if outputs are stored first. */
export function shapeOf(source: WeightSource): readonly number[] {
  switch (source.kind) {
    case "tensor":
      return source.shape;
    case "expert":
      return shapeOfExpert(source);
    case "stacked":
      return [source.of.length, ...source.of[0].shape];
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
  return shapeOf(source).length > 1 && storedTensor(source).stored === "inputs-first" ? 1 : 0;
}

function withOutputs(source: WeightSource, outputs: number): number[] {
  const axis = outputsAxis(source);
  return shapeOf(source).map((size, index) => (index === axis ? outputs : size));
}

/** The number of elements of a source. */
export function elementsOf(source: WeightSource): number {
  return shapeOf(source).reduce((product, size) => product * size, 1);
}
