// How a graph computes: in which element type, and which of several operators with the same meaning it uses, because the
// kernels of execution providers differ. Pure data; knows no provider by name.

/** Of activations, and of weights as the graph uses them. */
export type ComputeType = "float32" | "float16" | "bfloat16";

export interface Arithmetic {
  readonly elementType: ComputeType;
  /**
   * The operator for x · weightᵀ: one that takes the weight as it lies in the file, or a plain one, for which the weight is
   * transposed: by the processor when the session opens, or by the device in each run.
   */
  readonly product: "FusedMatMul" | "MatMul" | "Transpose-MatMul";
  /** RMS norm as one operator, the sum before it included; or written out, where that is nearer to the exact result. */
  readonly norm: "fused" | "written-out";
  /** silu(gate) · up as one operator or as two: as two in float16, which has no room for the way it is made one. */
  readonly gate: "fused" | "written-out";
  /**
   * Attention as one operator, GroupQueryAttention; the same over some queries at a time, where its own tiles are slow; or
   * written out in float32, where the operator is not to be trusted.
   */
  readonly attention: "fused" | "in-chunks" | "written-out";
  /** Whether attention itself rotates queries and keys, where it is one operator and nothing else needs the keys before it. */
  readonly rotation: "fused" | "written-out";
}

/** What the CPU does, and what golden files are compared with. */
export const FLOAT32_ARITHMETIC: Arithmetic = {
  elementType: "float32",
  product: "FusedMatMul",
  norm: "written-out",
  gate: "written-out",
  attention: "in-chunks",
  rotation: "written-out",
};
