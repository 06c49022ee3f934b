// What families with experts say in config.json beside sizes: read where published checkpoints have it, refused where it
// contradicts itself or is not computed.

import { describe, expect, test } from "vitest";
import { blocksOf } from "../../src/architectures/description.js";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { ropeTables } from "../../src/architectures/rope.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { configOf, goldenFolder, type Json } from "../helpers/golden-checkpoints.js";

async function describeChanged(name: string, changes: Json) {
  const { tensors } = await openCheckpoint(goldenFolder(name));
  return describeModel({ ...configOf(name), ...changes }, tensors);
}

const ofDbrx = (part: string, changes: Json): Json => ({
  [part]: { ...(configOf("dbrx-plain")[part] as Json), ...changes },
});

test.each([
  ["gpt_oss-plain", { num_experts_per_tok: 7 }, "num_experts_per_tok: expected at most 6"],
  ["gpt_oss-plain", { hidden_act: "gelu" }, 'hidden_act: "gelu" is not understood'],
  ["llama4_text-plain", { no_rope_layers: [1, 0] }, "no_rope_layers: expected 0 or 1 for each of 4 layers"],
  ["llama4_text-plain", { layer_types: ["sliding_attention", 0, 0, 0] }, "layer_types: expected a list of strings"],
  ["phimoe-plain", { num_experts_per_tok: 3 }, "num_experts_per_tok: 3 is not supported"],
  ["phimoe-plain", { rope_parameters: { rope_type: "linear", factor: 2 } }, 'RoPE of type "linear" is not supported'],
  ["dbrx-plain", ofDbrx("ffn_config", { moe_top_k: 7 }), "ffn_config.moe_top_k: expected at most 6"],
  ["dbrx-plain", ofDbrx("ffn_config", { uniform_expert_assignment: true }), "ffn_config.uniform_expert_assignment"],
  ["dbrx-plain", ofDbrx("attn_config", { kv_n_heads: 3 }), "n_heads: 4 heads cannot share 3"],
  ["afmoe-mup", { score_func: "softmax" }, 'score_func: "softmax" is not understood'],
  ["afmoe-mup", { n_group: 2 }, "n_group: 2 is not understood"],
  ["laguna-per-head", { gating: false }, "gating: false, with gating_types [], is not supported"],
  ["laguna-per-head", { gating_types: ["per_element"] }, 'gating: true, with gating_types ["per_element"]'],
  [
    "laguna-per-head",
    { num_attention_heads_per_layer: [4, 5, 2] },
    "num_attention_heads_per_layer: expected 3 multiples",
  ],
  ["laguna-per-head", { moe_apply_router_weight_on_input: true }, "moe_apply_router_weight_on_input: true is not"],
  ["cohere2_moe-plain", { expert_selection_fn: "relu" }, 'expert_selection_fn: "relu" is not supported'],
  [
    "mimo_v2_flash-plain",
    { hybrid_layer_pattern: [0, 1, 0, 0] },
    "hybrid_layer_pattern: contradicts the types of layers",
  ],
  ["mimo_v2_flash-plain", { moe_layer_freq: [0, 1, 1, 1] }, "moe_layer_freq: contradicts the types of layers"],
  ["mimo_v2_flash-plain", { swa_num_key_value_heads: 4 }, "swa_num_key_value_heads: 4 is not understood"],
  [
    "mimo_v2_flash-plain",
    { rope_parameters: { full_attention: {} } },
    "rope_parameters.sliding_attention: expected an",
  ],
])("%s with %j is refused", async (name, changes, message) => {
  await expect(describeChanged(name, changes)).rejects.toThrow(message);
});

describe("theta of dbrx", () => {
  test("is that of attn_config, which transformers 5 passes over", async () => {
    const { ropes } = await describeChanged("dbrx-plain", ofDbrx("attn_config", { rope_theta: 500_000 }));
    expect(ropes[0]?.theta).toBe(500_000);
  });

  test("is refused where the whole model says another one", async () => {
    const changes = { ...ofDbrx("attn_config", { rope_theta: 500_000 }), rope_parameters: { rope_theta: 20_000 } };
    await expect(describeChanged("dbrx-plain", changes)).rejects.toThrow(
      "contradicts the rope_theta of the whole model",
    );
  });
});

test("the window of MiMo counts the token itself, sliding_window_size does not", async () => {
  const { layers } = await describeChanged("mimo_v2_flash-plain", { sliding_window: 8, sliding_window_size: 11 });
  const windows = layers
    .flatMap(blocksOf)
    .flatMap((block) => (block.kind === "attention" ? [block.slidingWindow] : []));
  expect(windows).toEqual([undefined, 12, 12, undefined]);
});

test("queries of Llama 4 that do not rotate grow by ln of every eighth position, counted from 1", async () => {
  const { ropes } = await describeChanged("llama4_text-chunked", {});
  const [, growing] = ropes;
  if (growing === undefined) throw new Error("no second table");
  const { cos, sin } = ropeTables(growing, 20);
  const pairs = growing.dimensions / 2;
  for (let position = 0; position < 20; position++) {
    const expected = 1 + 0.5 * Math.log1p(Math.floor((position + 1) / 8));
    expect(cos[position * pairs]).toBeCloseTo(expected, 6);
    expect(cos[position * pairs + pairs - 1]).toBeCloseTo(expected, 6);
  }
  expect(sin.every((value) => value === 0)).toBe(true);
});

describe("longrope of phimoe", () => {
  test.each([
    [32, 1.2],
    [33, 1.4],
  ])("multiplies a prompt of %i tokens with %d", async (length, factor) => {
    const { ropes } = await describeChanged("phimoe-longrope-bias", {});
    const [rope] = ropes;
    if (rope === undefined) throw new Error("no rotation");
    expect(ropeTables(rope, length).cos[0]).toBeCloseTo(factor, 6); // cos(0) · factor
  });
});

test("the decoder and the head of a multimodal Llama 4 lie behind one prefix", async () => {
  const { tensors } = await openCheckpoint(goldenFolder("llama4_text-plain"));
  const shapes = new Map([...tensors].map(([name, found]) => [`language_model.${name}`, found]));
  const [anyTensor] = tensors.values();
  if (anyTensor === undefined) throw new Error("no tensors");
  shapes.set("vision_model.model.layers.0.self_attn.k_proj.weight", anyTensor);
  const config = {
    model_type: "llama4",
    text_config: configOf("llama4_text-plain"),
    vision_config: { hidden_size: 8 },
  };
  const decoder = describeModel(config, shapes);
  expect(decoder.layers).toHaveLength(4);
  expect(describeModelEnd(shapes, decoder).head).toMatchObject({ name: "language_model.lm_head.weight" });
});
