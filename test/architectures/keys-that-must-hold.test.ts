// Keys of config.json that transformers does not read and that still say something: of a family's, one value is what the
// family computes anyway, and any other is refused by name. `false` is such a value, too.

import { describe, expect, test } from "vitest";
import { describeConfig } from "../../src/architectures/registry.js";
import { UnsupportedModelError, UsageError } from "../../src/errors.js";
import { configOf, GOLDEN_NAMES, type Json } from "../helpers/golden-checkpoints.js";

/** By model_type: key, what it may be, what it may not. */
const CONSTRAINED: Readonly<Record<string, readonly (readonly [key: string, holds: unknown, other: unknown])[]>> = {
  llama: [["rope_interleaved", false, true]],
  mistral: [["llama_4_scaling", null, { beta: 0.1 }]],
  internlm3: [["qkv_bias", true, false]],
  iquestcoder: [
    ["use_sliding_window", false, true],
    ["clip_qkv", null, 8],
  ],
  qwen2: [
    ["use_mrope", false, true],
    ["dual_chunk_attention_config", null, { chunk_size: 262144 }],
  ],
  phi3: [
    ["full_attn_mod", 1, 2],
    ["interpolate_factor", 1, 2],
    ["lm_head_bias", false, true],
  ],
  starcoder2: [
    ["mlp_type", "default", "gated"],
    ["norm_type", "layer_norm", "rms_norm"],
    ["scale_attn_weights", true, false],
  ],
  gptj: [
    ["rotary", true, false],
    ["scale_attn_weights", true, false],
  ],
  falcon: [["apply_residual_connection_post_layernorm", false, true]],
  apertus: [
    ["qk_norm", true, false],
    ["post_norm", false, true],
  ],
  gemma: [["use_bidirectional_attention", null, true]],
  gemma2: [["use_bidirectional_attention", false, true]],
  gemma3_text: [["use_bidirectional_attention", false, true]],
  hunyuan_v1_dense: [
    ["use_cla", false, true],
    ["use_mla", false, true],
    ["use_qk_norm", true, false],
    ["use_rotary_pos_emb", true, false],
    ["position_embedding_xdrope", false, true],
    ["norm_type", "rms", "layer"],
  ],
  hunyuan_v1_moe: [
    ["use_cla", false, true],
    ["use_qk_norm", true, false],
    ["use_mixed_mlp_moe", true, false],
    ["norm_topk_prob", true, false],
    ["routed_scaling_factor", 1, 2],
    ["group_limited_greedy", false, true],
    ["num_shared_expert", 1, 2],
    ["moe_layer_num_skipped", 0, 1],
  ],
  minimax_m2: [
    ["use_qk_norm", true, false],
    ["qk_norm_type", "per_layer", "per_head"],
    ["use_routing_bias", true, false],
    ["scoring_func", "sigmoid", "softmax"],
    ["shared_intermediate_size", 0, 64],
  ],
  dots1: [
    ["scoring_func", "sigmoid", "softmax"],
    ["topk_method", "noaux_tc", "greedy"],
    ["moe_layer_freq", 1, 2],
  ],
  afmoe: [
    ["score_func", "sigmoid", "softmax"],
    ["route_norm", true, false],
    ["n_group", 1, 2],
  ],
  laguna: [
    ["norm_topk_prob", true, false],
    ["moe_apply_router_weight_on_input", false, true],
  ],
  ernie4_5_moe: [
    ["moe_gate", "topk", "sigmoid"],
    ["use_rmsnorm", true, false],
    ["moe_use_aux_free", true, false],
  ],
  lfm2: [
    ["block_use_swiglu", true, false],
    ["use_pos_enc", true, false],
    ["block_dim", 32, 64],
    ["conv_dim", 32, 64],
    ["conv_dim_out", 32, 64],
    ["num_heads", 4, 8],
    ["block_norm_eps", 1e-3, 1e-5],
  ],
  cohere2: [
    ["use_parallel_block", true, false],
    ["use_gated_activation", true, false],
    ["rotary_pct", 1, 0.5],
    ["position_embedding_type", "rope_gptj", "alibi"],
    ["order_of_interleaved_layers", "local_attn_first", "global_attn_first"],
  ],
};

function anyConfigOf(modelType: string): Json {
  const name = GOLDEN_NAMES.find((one) => configOf(one).model_type === modelType);
  if (name === undefined) throw new Error(`no golden checkpoint of ${modelType}`);
  return configOf(name);
}

const ROWS = Object.entries(CONSTRAINED).flatMap(([modelType, keys]) =>
  keys.map(([key, holds, other]) => ({ modelType, key, holds, other })),
);

test.each(ROWS)("$modelType: $key may be $holds, and is refused as $other", ({ modelType, key, holds, other }) => {
  const { [key]: _, ...config } = anyConfigOf(modelType);
  const refused = () => describeConfig({ ...config, [key]: other });
  expect(refused).toThrow(UnsupportedModelError);
  expect(refused).toThrow(`config.json: ${key}: `);
  const plain = describeConfig(config).decoder;
  expect(describeConfig({ ...config, [key]: holds }).decoder).toEqual(plain);
});

describe("attention that is not causal is refused", () => {
  const text_config = anyConfigOf("gemma3_text");
  const wrapped = { model_type: "gemma3", text_config };

  test.each<[where: string, path: string, config: Json]>([
    ["of a decoder", "is_causal", { ...text_config, is_causal: false }],
    ["beside the decoder of a multimodal model", "is_causal", { ...wrapped, is_causal: false }],
    [
      "in the decoder of a multimodal model",
      "text_config.is_causal",
      { ...wrapped, text_config: { ...text_config, is_causal: false } },
    ],
  ])("%s, and accepted by the name that the message gives", (_where, path, config) => {
    expect(() => describeConfig(config)).toThrow(`accept it with --assume-harmless ${path}.`);
    expect(() => describeConfig(config, { assumeHarmless: [path] })).not.toThrow();
  });
});

describe("a key to assume harmless must be in config.json", () => {
  const config = { ...anyConfigOf("llama"), "a.b": { "c.d": 1 }, list: [0] };

  test.each(["layer_scal", "a", "a.b.c", "a.b.c.d.e", "list.0.x", "toString", "", "__proto__"])("%j is not", (key) => {
    const run = () => describeConfig(config, { assumeHarmless: ["a.b", "list", key] });
    expect(run).toThrow(UsageError);
    expect(run).toThrow(`--assume-harmless: config.json has no key ${JSON.stringify(key)}`);
  });

  test("names with dots of their own are found, too", () => {
    expect(() => describeConfig(config, { assumeHarmless: ["a.b", "a.b.c.d", "list"] })).not.toThrow();
  });
});
