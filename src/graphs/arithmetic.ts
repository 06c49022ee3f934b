// How a graph computes: the element type, and which of several equivalent operators it uses, because execution
// providers have kernels for different ones. Pure data; knows no provider by name.

/** The type of activations, and of weights as the graph uses them. */
export type ComputeType = "float32" | "float16" | "bfloat16";

export interface Arithmetic {
  readonly elementType: ComputeType;
  /**
   * The operator for x · weightᵀ: one that takes the weight as it is stored, or a plain product of the transposed
   * weight. The processor transposes it when the session opens, or the device in each run.
   */
  readonly product: "FusedMatMul" | "MatMul" | "Transpose-MatMul";
  /** RMS norm as one operator that includes the sum before it, or unfused, where that is nearer to the exact result. */
  readonly norm: "fused" | "written-out";
  /** silu(gate) · up as one operator, or unfused as two: float16 cannot hold the constants of the fused one. */
  readonly gate: "fused" | "written-out";
  /**
   * Attention as one operator, GroupQueryAttention; the same over a chunk of the queries at a time, where the
   * operator's tiles are slow; or unfused in float32, where the operator gives wrong values.
   */
  readonly attention: "fused" | "in-chunks" | "written-out";
  /** The products of a mixture's experts: of each expert by itself, or batched where the experts allow it. */
  readonly experts: "one-by-one" | "stacked";
  /** Whether the attention operator rotates queries and keys, where nothing else needs the rotated keys before it. */
  readonly rotation: "fused" | "written-out";
}

/** The arithmetic of the CPU, which golden files are compared with. */
export const FLOAT32_ARITHMETIC: Arithmetic = {
  elementType: "float32",
  product: "FusedMatMul",
  norm: "written-out",
  gate: "written-out",
  attention: "in-chunks",
  experts: "one-by-one",
  rotation: "written-out",
};
