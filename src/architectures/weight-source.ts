// Where a weight's numbers are, as data: a tensor of the checkpoint, some of its rows, every n-th group of them, one of a
// stack. What is multiplied is always a matrix of [outputs, inputs], however it is stored. Knows neither files nor graphs.

export type WeightSource =
  | TensorSource
  /** Outputs `start` to `end` of another: a byte range of the same file where outputs are stored first. */
  | { readonly kind: "rows"; readonly of: WeightSource; readonly start: number; readonly end: number }
  /**
   * Outputs that lie in `groups` groups of one size: of each, those from `start` to `end`. The queries of a
   * `query_key_value` that goes head by head are groups = heads, rows 0 to head_dim of 3 × head_dim; every second row is
   * groups of two.
   */
  | {
      readonly kind: "interleaved";
      readonly of: WeightSource;
      readonly groups: number;
      readonly start: number;
      readonly end: number;
    }
  /**
   * One matrix of a stack of them: a byte range. The first axis counts them; or it has the rows of `count` matrices, one
   * behind the other.
   */
  | { readonly kind: "expert"; readonly of: TensorSource; readonly index: number; readonly count?: number }
  /** Tensors of one shape, a new axis before theirs: one for each head, where heads have weights of their own. */
  | { readonly kind: "stacked"; readonly of: readonly [TensorSource, ...TensorSource[]] };

export interface TensorSource {
  readonly kind: "tensor";
  readonly name: string;
  /** As the checkpoint must have it: [outputs, inputs], [inputs, outputs], [outputs], or either with experts before it. */
  readonly shape: readonly number[];
  /** inputs-first is how GPT-2's Conv1D and some stacks of experts are stored. */
  readonly stored: "outputs-first" | "inputs-first";
}

/** A tensor of its own, outputs first. */
export function tensorSource(name: string, shape: readonly number[]): TensorSource {
  return { kind: "tensor", name, shape, stored: "outputs-first" };
}

/** The tensor of the checkpoint that a source is a part of; the first, where it is several. */
export function storedTensor(source: WeightSource): TensorSource {
  if (source.kind === "tensor") return source;
  return source.kind === "stacked" ? source.of[0] : storedTensor(source.of);
}

/** Every tensor of the checkpoint that a source takes something from. */
export function storedTensors(source: WeightSource): readonly TensorSource[] {
  if (source.kind === "tensor") return [source];
  return source.kind === "stacked" ? source.of : storedTensors(source.of);
}

/** The shape of what a source gives: [outputs, inputs] or [outputs] if outputs are stored first. */
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

/** Which axis of `shapeOf` the outputs are. */
export function outputsAxis(source: WeightSource): 0 | 1 {
  return shapeOf(source).length > 1 && storedTensor(source).stored === "inputs-first" ? 1 : 0;
}

function withOutputs(source: WeightSource, outputs: number): number[] {
  const axis = outputsAxis(source);
  return shapeOf(source).map((size, index) => (index === axis ? outputs : size));
}

/** How many numbers a source gives. */
export function elementsOf(source: WeightSource): number {
  return shapeOf(source).reduce((product, size) => product * size, 1);
}
