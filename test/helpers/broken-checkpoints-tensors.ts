// Checkpoints whose files are well-formed but whose tensors are not those of the model, or hold NaN and Inf.

import { type BrokenInput, CHECKPOINT_UNREADABLE, editTensors, MODEL_NOT_SUPPORTED } from "./broken-checkpoints.js";
import { EXAMPLE } from "./example-checkpoint.js";
import type { RawTensor, SafetensorsFile } from "./example-checkpoint-safetensors.js";

const TENSORS_OF_LAYER = [
  "input_layernorm",
  "self_attn.q_proj",
  "self_attn.k_proj",
  "self_attn.v_proj",
  "self_attn.o_proj",
  "post_attention_layernorm",
  "mlp.gate_proj",
  "mlp.up_proj",
  "mlp.down_proj",
];

const weight = (layer: number, name: string) => `model.layers.${layer}.${name}.weight`;
const EMBEDDING = "model.embed_tokens.weight";
const NEEDED = [EMBEDDING, ...[0, 1, 2].flatMap((layer) => TENSORS_OF_LAYER.map((name) => weight(layer, name)))];

function tensor(file: SafetensorsFile, name: string): RawTensor {
  const found = file.tensors.get(name);
  if (found === undefined) throw new Error(`The example has no tensor ${name}`);
  return found;
}

const SHAPES: readonly [name: string, shape: readonly number[]][] = [
  [EMBEDDING, [EXAMPLE.hidden, EXAMPLE.vocabulary]],
  [EMBEDDING, [1, EXAMPLE.vocabulary, EXAMPLE.hidden]],
  [weight(0, "input_layernorm"), [1, EXAMPLE.hidden]],
  [weight(1, "self_attn.k_proj"), [EXAMPLE.hidden, 16]],
  [weight(1, "self_attn.v_proj"), [8, 96]],
  [weight(2, "self_attn.q_proj"), [EXAMPLE.hidden * EXAMPLE.hidden]],
  [weight(2, "mlp.down_proj"), [EXAMPLE.intermediate, EXAMPLE.hidden]],
];

const EXTRA_TENSORS = [
  "self_attn.k_proj.bias",
  "self_attn.q_norm.weight",
  "self_attn.sinks",
  "mlp.gate.weight",
  "mlp.experts.0.down_proj.weight",
  "pre_feedforward_layernorm.weight",
];
const QUANTIZED_TENSORS = ["qweight", "weight_packed", "weight_scale", "weight_scale_inv", "qzeros"];
const OTHER_DTYPES = ["I16", "U16"];
const SCALES = ["kv_scale", "k_scale", "v_scale"];

const BF16_BITS: Readonly<Record<string, number>> = { NaN: 0x7fc0, Inf: 0x7f80, "-Inf": 0xff80 };

/** Where a bad value lies, and the first layer whose K or V it reaches. */
const BAD_VALUES: readonly [name: string, value: string, layer: number][] = [
  [EMBEDDING, "NaN", 0],
  [weight(0, "self_attn.k_proj"), "-Inf", 0],
  [weight(0, "self_attn.v_proj"), "Inf", 0],
  [weight(0, "self_attn.q_proj"), "NaN", 1],
  [weight(0, "post_attention_layernorm"), "Inf", 1],
  [weight(1, "mlp.up_proj"), "NaN", 2],
  [weight(2, "self_attn.k_proj"), "Inf", 2],
  [weight(2, "self_attn.v_proj"), "NaN", 2],
];

export const BROKEN_TENSORS: readonly BrokenInput[] = [
  ...NEEDED.map((name) => ({
    name: `${name} is missing`,
    exitCode: CHECKPOINT_UNREADABLE,
    says: /is missing: config\.json calls for it|lacks its first layer/,
    damage: editTensors((file) => file.tensors.delete(name)),
  })),
  ...SHAPES.map(([name, shape]) => ({
    name: `${name} has the shape [${shape.join(", ")}]`,
    exitCode: CHECKPOINT_UNREADABLE,
    says: /expected shape \[.*\] by config\.json, found/,
    damage: editTensors((file) => {
      tensor(file, name).shape = shape;
    }),
  })),
  ...EXTRA_TENSORS.map((name) => ({
    name: `layer 1 has a tensor ${name}, which the model does not use`,
    exitCode: MODEL_NOT_SUPPORTED,
    says: /has no place in model_type "llama"/,
    damage: addTensor(`model.layers.1.${name}`),
  })),
  ...QUANTIZED_TENSORS.map((name) => ({
    name: `the weights are quantized (${name})`,
    exitCode: MODEL_NOT_SUPPORTED,
    says: /Quantized weights .* are not supported/,
    damage: addTensor(`model.layers.1.self_attn.q_proj.${name}`),
  })),
  ...SCALES.map((name) => ({
    name: `a ${name} lies among the weights`,
    exitCode: MODEL_NOT_SUPPORTED,
    says: /is a KV scale among the weights/,
    damage: addTensor(`model.layers.1.self_attn.${name}`),
  })),
  ...OTHER_DTYPES.map((dtype) => ({
    name: `a weight is ${dtype}`,
    exitCode: MODEL_NOT_SUPPORTED,
    says: new RegExp(`dtype ${dtype} is not supported`),
    damage: editTensors((file) => {
      tensor(file, weight(1, "self_attn.k_proj")).dtype = dtype;
    }),
  })),
  {
    name: "a weight is FP8",
    exitCode: MODEL_NOT_SUPPORTED,
    says: /dtype F8_E4M3 is not supported/,
    damage: editTensors((file) => {
      const name = weight(1, "self_attn.k_proj");
      const { data, shape } = tensor(file, name);
      file.tensors.set(name, { dtype: "F8_E4M3", shape, data: data.subarray(0, data.length / 2) });
    }),
  },
  {
    name: "there is no tensor at all",
    exitCode: CHECKPOINT_UNREADABLE,
    says: /lacks its first layer/,
    damage: editTensors((file) => file.tensors.clear()),
  },
  ...BAD_VALUES.map(([name, value, layer]) => ({
    name: `${name} holds ${value}`,
    exitCode: CHECKPOINT_UNREADABLE,
    says: new RegExp(`^Error: Layer ${layer}: [KV] has values that are not finite`),
    damage: editTensors((file) => {
      const { data } = tensor(file, name);
      // A row of its own in every matrix; in the embedding, that of every token.
      const step = name === EMBEDDING ? EXAMPLE.hidden * 2 : data.length;
      for (let at = 0; at < data.length; at += step) data.writeUInt16LE(BF16_BITS[value] ?? 0, at);
    }),
  })),
];

function addTensor(name: string): BrokenInput["damage"] {
  return editTensors((file) =>
    file.tensors.set(name, { dtype: "F32", shape: [1], data: Buffer.from([0, 0, 128, 63]) }),
  );
}
