// Names of scales, as engines and exporters have them.

import { expect, test } from "vitest";
import { isScaleName, parseScaleName } from "../../src/checkpoint/scale-names.js";

test.each([
  ["model.layers.3.self_attn.k_scale", ["model.layers.3.self_attn", "k_scale", "attention", 3]],
  ["model.layers.12.self_attn.kv_scale", ["model.layers.12.self_attn", "kv_scale", "attention", 12]],
  [
    "model.language_model.layers.0.self_attn.v_scale",
    ["model.language_model.layers.0.self_attn", "v_scale", "attention", 0],
  ],
  ["model.layers.3.self_attn.v_proj.v_scale", ["model.layers.3.self_attn", "v_scale", "projection", 3]],
  ["model.layers.3.self_attn.qkv_proj.k_scale", ["model.layers.3.self_attn", "k_scale", "projection", 3]],
  ["model.layers.3.self_attn.k_proj.output_scale", ["model.layers.3.self_attn", "k_scale", "output", 3]],
  ["model.layers.3.self_attn.v_cache.scale", ["model.layers.3.self_attn", "v_scale", "cache", 3]],
  ["model.layers.3.self_attn.attn.k_scale", ["model.layers.3.self_attn", "k_scale", "parameter", 3]],
  ["transformer.h.3.attn.k_scale", ["transformer.h.3.attn", "k_scale", "attention", 3]],
  ["transformer.h.3.attn.attn.k_scale", ["transformer.h.3.attn", "k_scale", "parameter", 3]],
  [
    "transformer.blocks.3.norm_attn_norm.attn.k_scale",
    ["transformer.blocks.3.norm_attn_norm.attn", "k_scale", "attention", 3],
  ],
  [
    "transformer.blocks.3.norm_attn_norm.attn.attn.v_scale",
    ["transformer.blocks.3.norm_attn_norm.attn", "v_scale", "parameter", 3],
  ],
  ["x.k_scale", ["x", "k_scale", "attention", undefined]],
])("%s is taken apart", (name, [attention, kind, form, layer]) => {
  expect(parseScaleName(name)).toEqual({ attention, kind, form, layer });
});

test.each([
  "model.layers.0.self_attn.k_proj.weight_scale",
  "model.layers.0.self_attn.k_proj.input_scale",
  "model.layers.0.self_attn.q_proj.output_scale",
  "model.layers.0.mlp.down_proj.output_scale",
  "model.layers.0.self_attn.q_scale",
  "k_scale",
])("%s is no scale of a KV cache", (name) => {
  expect(isScaleName(name)).toBe(false);
});
