// The linear layers of a checkpoint in the layouts of quantization methods: names, dtypes and shapes as their tools write
// them, codes all zero and scales all one. For tests that are about names, files and engines, not about numbers. Uses
// nothing of src/.

import type { RawTensor, SafetensorsFile } from "../helpers/example-checkpoint-safetensors.js";

/** Dtype and shape of each tensor that takes the place of a weight of [outputs, inputs]. */
type Replacement = (outputs: number, inputs: number) => Readonly<Record<string, readonly [Dtype, readonly number[]]>>;
type Dtype = "F8_E4M3" | "I8" | "I32" | "I64" | "F16" | "BF16" | "F32";

export interface QuantizedWeights {
  readonly tensors: Replacement;
  /** `quantization_config` of config.json. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Inputs that have a scale in common; the example's widths are multiples of it. */
const GROUP = 64;

function compressedTensors(format: string, weights: object, activations: object | null): Record<string, unknown> {
  return {
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
    format,
    config_groups: { group_0: { targets: ["Linear"], weights, input_activations: activations } },
    ignore: ["lm_head"],
    kv_cache_scheme: null,
  };
}

function linear(type: "int" | "float", bits: number, strategy: string, others: object = {}): object {
  return { num_bits: bits, type, strategy, symmetric: true, dynamic: false, ...others };
}

export const QUANTIZED_WEIGHTS = {
  "fp8 per tensor": {
    tensors: (outputs, inputs) => ({ weight: ["F8_E4M3", [outputs, inputs]], weight_scale: ["F32", []] }),
    config: { quant_method: "fp8", activation_scheme: "dynamic" },
  },
  "fp8 per block": {
    tensors: (outputs, inputs) => ({
      weight: ["F8_E4M3", [outputs, inputs]],
      weight_scale_inv: ["F32", [outputs / GROUP, inputs / GROUP]],
    }),
    config: { quant_method: "fp8", activation_scheme: "dynamic", weight_block_size: [GROUP, GROUP] },
  },
  "compressed-tensors int8": {
    tensors: (outputs, inputs) => ({ weight: ["I8", [outputs, inputs]], weight_scale: ["BF16", [outputs, 1]] }),
    config: compressedTensors(
      "int-quantized",
      linear("int", 8, "channel"),
      linear("int", 8, "token", { dynamic: true }),
    ),
  },
  "compressed-tensors fp8": {
    tensors: (outputs, inputs) => ({ weight: ["F8_E4M3", [outputs, inputs]], weight_scale: ["BF16", [outputs, 1]] }),
    config: compressedTensors(
      "float-quantized",
      linear("float", 8, "channel"),
      linear("float", 8, "token", { dynamic: true }),
    ),
  },
  "compressed-tensors w4a16": {
    tensors: (outputs, inputs) => ({
      weight_packed: ["I32", [outputs, inputs / 8]],
      weight_scale: ["BF16", [outputs, inputs / GROUP]],
      weight_shape: ["I64", [2]],
    }),
    config: compressedTensors("pack-quantized", linear("int", 4, "group", { group_size: GROUP }), null),
  },
  gptq: {
    tensors: (outputs, inputs) => ({
      qweight: ["I32", [inputs / 8, outputs]],
      qzeros: ["I32", [inputs / GROUP, outputs / 8]],
      scales: ["F16", [inputs / GROUP, outputs]],
      g_idx: ["I32", [inputs]],
    }),
    config: {
      quant_method: "gptq",
      ...{ bits: 4, group_size: GROUP, desc_act: false, sym: true, lm_head: false, checkpoint_format: "gptq" },
    },
  },
  awq: {
    tensors: (outputs, inputs) => ({
      qweight: ["I32", [inputs, outputs / 8]],
      qzeros: ["I32", [inputs / GROUP, outputs / 8]],
      scales: ["F16", [inputs / GROUP, outputs]],
    }),
    config: {
      quant_method: "awq",
      ...{ bits: 4, group_size: GROUP, zero_point: true, version: "gemm", modules_to_not_convert: null },
    },
  },
  modelopt: {
    tensors: (outputs, inputs) => ({
      weight: ["F8_E4M3", [outputs, inputs]],
      weight_scale: ["F32", []],
      input_scale: ["F32", []],
    }),
    config: { quant_method: "modelopt", quant_algo: "FP8", ignore: ["lm_head"] },
  },
} as const satisfies Record<string, QuantizedWeights>;

export type QuantizedWeightsName = keyof typeof QUANTIZED_WEIGHTS;

/** The tensors of a checkpoint with its linear layers quantized; all others stay as they are. */
export function quantizeWeights(weights: SafetensorsFile, name: QuantizedWeightsName): Map<string, RawTensor> {
  const { tensors: replacement }: QuantizedWeights = QUANTIZED_WEIGHTS[name];
  const entries = [...weights.tensors].flatMap(([tensor, content]): (readonly [string, RawTensor])[] => {
    const [outputs, inputs] = content.shape as number[];
    if (!tensor.endsWith("_proj.weight") || outputs === undefined || inputs === undefined) return [[tensor, content]];
    return Object.entries(replacement(outputs, inputs)).map(([part, [dtype, shape]]) => {
      const data = part === "weight_shape" ? int64s([outputs, inputs]) : filled(dtype, shape);
      return [tensor.replace(/weight$/, part), { dtype, shape, data }];
    });
  });
  return new Map(entries);
}

const ONE = {
  F32: Buffer.from(Float32Array.of(1).buffer),
  BF16: Buffer.from([0x80, 0x3f]),
  F16: Buffer.from([0x00, 0x3c]),
} as const;
const ZERO = { F8_E4M3: Buffer.alloc(1), I8: Buffer.alloc(1), I32: Buffer.alloc(4), I64: Buffer.alloc(8) } as const;

function filled(dtype: Dtype, shape: readonly number[]): Buffer {
  const element = { ...ONE, ...ZERO }[dtype];
  const elements = shape.reduce((product, size) => product * size, 1);
  return Buffer.alloc(elements * element.length, element);
}

function int64s(values: readonly number[]): Buffer {
  return Buffer.from(BigInt64Array.from(values, BigInt).buffer);
}
