// The execution providers that sessions can run on: one entry each, the best first. Does not import ONNX Runtime: it
// only says what to ask for.

import type { Arithmetic } from "../graphs/arithmetic.js";

/** The stored type of weights, on which a provider's arithmetic depends. */
export type StoredType = "BF16" | "F16" | "F32";

export interface Provider {
  /** Name in ONNX Runtime. */
  readonly executionProvider: string;
  readonly description: string;
  /** Systems that onnxruntime-node has it for, such as "linux-x64"; undefined: all. */
  readonly systems?: readonly string[];
  /** Whether it computes on a device with its own memory. */
  readonly usesDevice: boolean;
  /** Whether `--device` can choose among several. */
  readonly choosesDevice: boolean;
  readonly arithmetic: Readonly<Record<StoredType, Arithmetic>>;
  /** Whether its attention operator may be wrong without an error; then it is tested before a run. */
  readonly checksAttention: boolean;
  /** The arithmetic for repeating a run whose activations were beyond the range of float16. */
  readonly wideArithmetic: Arithmetic;
  /**
   * When codes of quantized weights become numbers: where it has no kernels for that, the processor does it when a session
   * opens; in each run, or only if there are few.
   */
  readonly dequantizes: "when-opened" | "in-each-run" | "in-each-run-of-few";
  /** Bytes of weights, as held in memory, of a segment when no limit is known. */
  readonly defaultSegmentBytes: number;
  /**
   * Largest batch, in rows × width: with less, matrix products are too small to be fast; more does not fit into caches
   * or memory.
   */
  readonly batchTokens: number;
  /** Largest activation in bytes, where devices limit the size of a buffer. */
  readonly maxBufferBytes?: number;
  /** Whether a first run is so slow that it is done while prompts are tokenized. */
  readonly warmsUp?: boolean;
  /** True until someone has run it. */
  readonly untested?: boolean;
}

const MEBIBYTE = 2 ** 20;
const WRITTEN_OUT = {
  norm: "written-out",
  gate: "written-out",
  attention: "fused",
  experts: "one-by-one",
  rotation: "written-out",
} as const;
const CPU_ARITHMETIC: Arithmetic = {
  ...WRITTEN_OUT,
  attention: "in-chunks",
  elementType: "float32",
  product: "FusedMatMul",
};
const CUDA_BFLOAT16: Arithmetic = {
  ...{ norm: "fused", gate: "fused", attention: "fused", rotation: "fused" },
  experts: "stacked",
  elementType: "bfloat16",
  product: "FusedMatMul",
};
/** The fused gate has a weight that float16 cannot hold. */
const CUDA_FLOAT16: Arithmetic = { ...CUDA_BFLOAT16, elementType: "float16", gate: "written-out" };
const PLAIN_FLOAT16: Arithmetic = { ...WRITTEN_OUT, elementType: "float16", product: "MatMul", norm: "fused" };
const PLAIN_FLOAT32: Arithmetic = { ...PLAIN_FLOAT16, elementType: "float32" };
/** Opens four layers of an 8B model in 2.5 to 3.0 s, where transposing on the CPU takes 4.3 s, and computes as fast. */
const WEBGPU_FLOAT16: Arithmetic = { ...PLAIN_FLOAT16, product: "Transpose-MatMul" };

/** Providers whose kernels know float16 and float32, but not bfloat16. */
const WITHOUT_BFLOAT16 = {
  arithmetic: { BF16: PLAIN_FLOAT16, F16: PLAIN_FLOAT16, F32: PLAIN_FLOAT16 },
  wideArithmetic: PLAIN_FLOAT32,
  dequantizes: "when-opened",
  checksAttention: true,
  usesDevice: true,
  choosesDevice: false,
  defaultSegmentBytes: 1024 * MEBIBYTE,
  // Launching an operator costs the CPU as much time as the device needs for a thousand tokens of a small model.
  batchTokens: 8192,
  // Half of the largest buffer that every device has (WebGPU's maxStorageBufferBindingSize).
  maxBufferBytes: 64 * MEBIBYTE,
} as const;

export const PROVIDERS = {
  cuda: {
    executionProvider: "cuda",
    description: "NVIDIA GPUs",
    systems: ["linux-x64"],
    usesDevice: true,
    choosesDevice: true,
    // CUDA's attention has no float32 kernel; engines also serve float32 checkpoints in bfloat16. Stacked float32 experts
    // would be cast in each run.
    arithmetic: { BF16: CUDA_BFLOAT16, F16: CUDA_FLOAT16, F32: { ...CUDA_BFLOAT16, experts: "one-by-one" } },
    wideArithmetic: CUDA_BFLOAT16,
    dequantizes: "in-each-run",
    checksAttention: false,
    defaultSegmentBytes: 4096 * MEBIBYTE,
    batchTokens: 16384,
    warmsUp: true,
  },
  webgpu: {
    ...WITHOUT_BFLOAT16,
    executionProvider: "webgpu",
    arithmetic: { BF16: WEBGPU_FLOAT16, F16: WEBGPU_FLOAT16, F32: WEBGPU_FLOAT16 },
    wideArithmetic: { ...WEBGPU_FLOAT16, elementType: "float32" },
    description: "GPUs with Vulkan, Direct3D 12 or Metal",
    systems: ["linux-x64", "win32-x64", "win32-arm64", "darwin-x64", "darwin-arm64"],
  },
  coreml: {
    ...WITHOUT_BFLOAT16,
    executionProvider: "coreml",
    description: "Apple GPUs and Neural Engine",
    systems: ["darwin-x64", "darwin-arm64"],
    untested: true,
  },
  dml: {
    ...WITHOUT_BFLOAT16,
    executionProvider: "dml",
    description: "GPUs with DirectX 12",
    systems: ["win32-x64", "win32-arm64"],
    untested: true,
  },
  cpu: {
    executionProvider: "cpu",
    description: "the processor",
    usesDevice: false,
    choosesDevice: false,
    arithmetic: { BF16: CPU_ARITHMETIC, F16: CPU_ARITHMETIC, F32: CPU_ARITHMETIC },
    wideArithmetic: CPU_ARITHMETIC,
    dequantizes: "in-each-run-of-few",
    checksAttention: false,
    // Opening a session costs little more than reading its weights, so small segments are as fast as large ones.
    defaultSegmentBytes: 32 * MEBIBYTE,
    batchTokens: 1024,
  },
} as const satisfies Record<string, Provider>;

export type ProviderName = keyof typeof PROVIDERS;
