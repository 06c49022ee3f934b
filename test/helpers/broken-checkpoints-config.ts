// Broken and unsupported config.json: every key that the program needs, in every wrong way, and what it does not know.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type BrokenInput,
  CHECKPOINT_UNREADABLE,
  MODEL_NOT_SUPPORTED,
  put,
  setConfig,
  shown,
} from "./broken-checkpoints.js";

const FILES: readonly [name: string, damage: BrokenInput["damage"], says: RegExp][] = [
  ["not there", ({ model }) => rmSync(join(model, "config.json")), /config\.json: not found/],
  ["empty", put("config.json", ""), /config\.json: not valid JSON/],
  ["YAML", put("config.json", "model_type: llama\nhidden_size: 48\n"), /config\.json: not valid JSON/],
  ["null", put("config.json", "null"), /config\.json: expected a JSON object/],
  ["a list", put("config.json", "[{}]"), /config\.json: expected a JSON object/],
  ["a number", put("config.json", "1"), /config\.json: expected a JSON object/],
  ["an empty object", put("config.json", "{}"), /model_type: expected a string, found nothing/],
  ["not UTF-8", put("config.json", Buffer.from([0x7b, 0xc3, 0x28, 0x7d])), /config\.json: cannot be read/],
  [
    "JSON with comments",
    put("config.json", '{\n// a comment\n"model_type": "llama"\n}'),
    /config\.json: not valid JSON/,
  ],
  [
    "a folder",
    ({ model }) => {
      rmSync(join(model, "config.json"));
      mkdirSync(join(model, "config.json"));
    },
    /config\.json: cannot be read/,
  ],
  [
    "cut off",
    ({ model }) => {
      const path = join(model, "config.json");
      writeFileSync(path, readFileSync(path).subarray(0, 200));
    },
    /config\.json: not valid JSON/,
  ],
];

const NEEDED_SIZES = [
  "hidden_size",
  "intermediate_size",
  "num_attention_heads",
  "num_hidden_layers",
  "vocab_size",
  "num_key_value_heads",
  "head_dim",
];
/** Absent or null, these two have a default that fits the example or not. */
const SIZES_WITH_DEFAULT = ["num_key_value_heads", "head_dim"];
const NO_SIZES = ["48", 0, -48, 1.5, true, [48], {}, 1e30];
const HUGE_SIZES = [2 ** 31, 4_000_000_000, 2 ** 52];

/** Sizes that are sizes, but not those of the tensors. */
const INCONSISTENT: readonly [keys: Record<string, unknown>, exitCode: number, says: RegExp][] = [
  [{ num_attention_heads: 5 }, 3, /2 does not divide num_attention_heads \(5\)/],
  [{ num_attention_heads: 12 }, 3, /q_proj\.weight": expected shape \[96, 48\] by config\.json, found \[48, 48\]/],
  [{ num_key_value_heads: 4 }, 3, /does not divide/],
  [{ num_key_value_heads: 3 }, 3, /k_proj\.weight": expected shape \[24, 48\] by config\.json, found \[16, 48\]/],
  [{ num_key_value_heads: null }, 3, /k_proj\.weight": expected shape \[48, 48\]/],
  [{ head_dim: 16 }, 3, /q_proj\.weight": expected shape \[96, 48\]/],
  [{ head_dim: 7 }, 3, /head_dim: expected an even number/],
  [{ hidden_size: 64 }, 3, /embed_tokens\.weight": expected shape \[128, 64\]/],
  [{ intermediate_size: 65 }, 3, /expected shape \[65, 48\]/],
  [{ vocab_size: 127 }, 3, /expected shape \[127, 48\]/],
  [{ vocab_size: 129 }, 3, /expected shape \[129, 48\]/],
  [{ num_hidden_layers: 4 }, 3, /model\.layers\.3\..* is missing/],
  [{ num_hidden_layers: 2 }, 4, /model\.layers\.2\..* has no place/],
  [{ attention_bias: true }, 3, /q_proj\.bias" is missing/],
  [{ attention_bias: "yes" }, 3, /attention_bias: expected true or false/],
  [{ mlp_bias: true }, 3, /gate_proj\.bias" is missing/],
  [{ mlp_bias: 1 }, 3, /mlp_bias: expected true or false/],
  [{ rms_norm_eps: 0 }, 3, /rms_norm_eps: expected a positive number/],
  [{ rms_norm_eps: -1e-6 }, 3, /rms_norm_eps: expected a positive number/],
  [{ rms_norm_eps: "1e-6" }, 3, /rms_norm_eps: expected a positive number/],
  [{ hidden_act: 1 }, 3, /hidden_act: expected a string/],
  [{ layer_types: "full_attention" }, 3, /layer_types: expected a list of strings/],
  [{ layer_types: [1, 2, 3] }, 3, /layer_types: expected a list of strings/],
];

const UNKNOWN_MODEL_TYPES = ["gpt5", "Llama", "lama", "t5", "", "constructor", "__proto__", "toString"];
const UNKNOWN_ACTIVATIONS = ["gelu_10", "SiLU", "", "constructor", "toString", "__proto__"];

const ROPES: readonly [rope: unknown, exitCode: number, says: RegExp][] = [
  ["default", 3, /expected an object/],
  [[], 3, /expected an object/],
  [5, 3, /expected an object/],
  [{ rope_type: "ntk", rope_theta: 10000 }, 4, /RoPE type "ntk" is not supported/],
  [{ rope_type: "longrope", factor: 4 }, 3, /short_factor: expected a list of positive numbers/],
  [{ rope_type: "su" }, 4, /RoPE type "su" is not supported/],
  [{ type: "mrope" }, 4, /RoPE type "mrope" is not supported/],
  [{ rope_type: "constructor" }, 4, /RoPE type "constructor" is not supported/],
  [{ rope_type: 3 }, 3, /rope_type: expected a string/],
  [{ rope_type: "default", rope_theta: 0 }, 3, /rope_theta: expected a positive number/],
  [{ rope_type: "default", rope_theta: -1 }, 3, /rope_theta: expected a positive number/],
  [{ rope_type: "default", rope_theta: "10000" }, 3, /rope_theta: expected a positive number/],
  [{ rope_type: "default", partial_rotary_factor: 0.5 }, 4, /partial_rotary_factor: 0.5 is not understood/],
  [{ rope_type: "default", partial_rotary_factor: "1" }, 4, /partial_rotary_factor: "1" is not understood/],
  [{ rope_type: "default", mrope_section: [1, 1, 2] }, 4, /mrope_section: .*not understood/],
  [{ rope_type: "linear" }, 3, /factor: expected a positive number, found nothing/],
  [{ rope_type: "linear", factor: 0 }, 3, /factor: expected a positive number/],
  [{ rope_type: "linear", factor: "2" }, 3, /factor: expected a positive number/],
  [{ rope_type: "dynamic" }, 3, /factor: expected a positive number/],
  [{ rope_type: "llama3", factor: 8 }, 3, /low_freq_factor: expected a positive number/],
  [{ rope_type: "llama3", factor: 8, low_freq_factor: 1 }, 3, /high_freq_factor: expected a positive number/],
  [{ rope_type: "yarn", factor: -4 }, 3, /factor: expected a positive number/],
  [{ rope_type: "yarn", factor: 4, beta_fast: 0 }, 3, /beta_fast: expected a positive number/],
  [{ rope_type: "yarn", factor: 4, truncate: "no" }, 3, /truncate: expected true or false/],
  [{ rope_type: "yarn", factor: 4, mscale: "a", mscale_all_dim: 1 }, 3, /mscale: expected a/],
  [{ rope_type: "yarn", factor: 4, original_max_position_embeddings: 0 }, 3, /original_max_position_embeddings/],
  [{ full_attention: { rope_theta: 1 }, sliding_attention: { rope_theta: 1 } }, 4, /not understood/],
];

/** Settings of other families that change K or V. */
const UNSUPPORTED: Readonly<Record<string, unknown>> = {
  rope_interleaved: true,
  partial_rotary_factor: 0.25,
  attention_multiplier: 0.5,
  embedding_multiplier: 12,
  residual_multiplier: 0.2,
  clip_qkv: 8,
  attn_logit_softcapping: 50,
  query_pre_attn_scalar: 256,
  position_embedding_type: "alibi",
  no_rope_layers: [0, 1],
  no_rope_layer_interval: 4,
  attention_chunk_size: 8192,
  num_local_experts: 8,
  num_experts: 64,
  moe_layers: [1],
  qk_layernorm: true,
  use_qk_norm: true,
  is_causal: false,
  llama_4_scaling: { beta: 0.1 },
  dual_chunk_attention_config: { chunk_size: 4 },
  parallel_attn: true,
  alibi: true,
  attn_temperature_tuning: true,
  cross_attention_layers: [1],
  scale_emb: 12,
  scale_depth: 1.4,
  layer_types: ["full_attention", "sliding_attention", "full_attention"],
};

export const BROKEN_CONFIGS: readonly BrokenInput[] = [
  ...FILES.map(([name, damage, says]) => ({
    name: `config.json is ${name}`,
    exitCode: CHECKPOINT_UNREADABLE,
    says,
    damage,
  })),
  ...NEEDED_SIZES.flatMap((key) => {
    const absent = SIZES_WITH_DEFAULT.includes(key) ? [] : [undefined, null];
    return [...absent, ...NO_SIZES].map((value) => ({
      name: `config.json: ${key} is ${shown(value)}`,
      exitCode: CHECKPOINT_UNREADABLE,
      says: new RegExp(`config\\.json: ${key}: expected a positive integer`),
      damage: setConfig({ [key]: value }),
    }));
  }),
  ...NEEDED_SIZES.flatMap((key) =>
    HUGE_SIZES.map((value) => ({
      name: `config.json: ${key} is ${value}`,
      exitCode: CHECKPOINT_UNREADABLE,
      says: new RegExp(`${key}|expected shape|is missing|does not divide`),
      damage: setConfig({ [key]: value }),
    })),
  ),
  ...[...INCONSISTENT].map(([keys, exitCode, says]) => ({
    name: `config.json has ${shown(keys)}`,
    exitCode,
    says,
    damage: setConfig(keys),
  })),
  ...[undefined, null, 5, ["llama"]].map((value) => ({
    name: `config.json: model_type is ${shown(value)}`,
    exitCode: CHECKPOINT_UNREADABLE,
    says: /model_type: expected a string/,
    damage: setConfig({ model_type: value }),
  })),
  ...UNKNOWN_MODEL_TYPES.map((value) => ({
    name: `config.json: model_type is ${shown(value)}`,
    exitCode: MODEL_NOT_SUPPORTED,
    says: /model_type ".*" is not supported.* `create-kv-scales architectures` lists what is\./,
    damage: setConfig({ model_type: value }),
  })),
  ...UNKNOWN_ACTIVATIONS.map((value) => ({
    name: `config.json: hidden_act is ${shown(value)}`,
    exitCode: MODEL_NOT_SUPPORTED,
    says: /hidden_act: ".*" is not supported; supported: silu/,
    damage: setConfig({ hidden_act: value }),
  })),
  ...ROPES.map(([rope, exitCode, says]) => ({
    name: `config.json: rope_parameters is ${shown(rope)}`,
    exitCode,
    says,
    damage: setConfig({ rope_parameters: rope }),
  })),
  ...Object.entries(UNSUPPORTED).map(([key, value]) => ({
    name: `config.json: ${key} is ${shown(value)}`,
    exitCode: MODEL_NOT_SUPPORTED,
    says: new RegExp(`config\\.json: ${key}: .*not understood`),
    damage: setConfig({ [key]: value }),
  })),
  {
    name: "config.json has a quantization_config of a method that is not known",
    exitCode: MODEL_NOT_SUPPORTED,
    says: /quantization_config.*quip/,
    damage: setConfig({ quantization_config: { quant_method: "quip" } }),
    args: () => ["--format", "vllm"],
  },
  {
    name: "config.json has a quantization_config of weights that are not quantized",
    exitCode: MODEL_NOT_SUPPORTED,
    says: /quantization_config \(fp8\): says that weights are quantized .*, but all are of 16 or 32 bits/,
    damage: setConfig({ quantization_config: { quant_method: "fp8" } }),
  },
  {
    name: "config.json is nested 100,000 deep",
    exitCode: CHECKPOINT_UNREADABLE,
    damage: ({ model }) => {
      const path = join(model, "config.json");
      const deep = `"deep": ${"[".repeat(100_000)}${"]".repeat(100_000)},`;
      writeFileSync(path, readFileSync(path, "utf8").replace("{", `{${deep}`));
    },
  },
];
