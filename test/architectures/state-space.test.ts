// Families with state-space models: the layouts that their checkpoints come in, and settings that contradict themselves.

import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeConfig, describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { configOf, goldenFolder, type Json } from "../helpers/golden-checkpoints.js";

test.each(["backbone", "model"])("Nemotron-H's tensors behind %s., and scales named after them", async (prefix) => {
  const { config, tensors } = await openCheckpoint(goldenFolder("nemotron_h-moe"));
  const renamed = new Map([...tensors].map(([name, tensor]) => [name.replace(/^backbone\./, `${prefix}.`), tensor]));
  const decoder = describeModel(config, renamed);
  expect(cacheSites(decoder).map(({ name }) => name)).toEqual([2, 5].map((at) => `${prefix}.layers.${at}.mixer`));
  expect(decoder.embedding.weight).toBe(`${prefix}.embeddings.weight`);
  expect(decoder.end).toMatchObject({
    head: { name: "lm_head.weight" },
    norm: { weight: { name: `${prefix}.norm_f.weight` } },
  });
});

test("of Granite 4 without any Mamba every layer has a cache", () => {
  const config = {
    ...configOf("granitemoehybrid-rope-dense"),
    layer_types: Array.from({ length: 4 }, () => "attention"),
  };
  expect(cacheSites(describeConfig(config).decoder)).toHaveLength(4);
});

const steps = (limits: unknown) => ({ ...configOf("bamba-plain"), time_step_limit: limits });
const INFINITE = { __float__: "Infinity" };

describe("steps of time are clamped", () => {
  test.each([
    [steps([0.3, 1.2]), { least: 0.3, most: 1.2 }],
    [steps([0, 1.2]), { least: 0, most: 1.2 }],
    [steps([0.3, Number.POSITIVE_INFINITY]), { least: 0.3 }],
    [steps([0.3, INFINITE]), { least: 0.3 }],
    [steps([0, INFINITE]), undefined],
    [steps(null), undefined],
    [{ ...configOf("nemotron_h-dense"), time_step_min: 0.01, time_step_limit: [0, 1] }, { least: 0.01 }],
    [{ ...configOf("nemotron_h-dense"), time_step_min: 0 }, undefined],
  ])("case %#", (config, limits) => {
    const block = describeConfig(config).decoder.layers[0]?.residuals[0]?.branches[0].block;
    expect(block?.kind === "state-space" && block.timeStepLimits).toEqual(limits);
  });
});

test.each<[string, Json, RegExp]>([
  ["bamba-plain", { time_step_limit: [1, 0.5] }, /time_step_limit: expected two ascending numbers, found \[1,0\.5\]/],
  ["bamba-plain", { time_step_limit: [0] }, /time_step_limit: expected two ascending numbers/],
  ["bamba-plain", { mamba_n_heads: 5 }, /mamba_n_heads: expected heads that have 32 numbers together, found 5 of 8/],
  ["bamba-plain", { mamba_n_groups: 3 }, /mamba_n_groups: 3 groups cannot serve 4 heads evenly/],
  [
    "bamba-plain",
    { partial_rotary_factor: 1 },
    /partial_rotary_factor: expected 0\.5, as transformers has it, found 1/,
  ],
  ["bamba-plain", { attn_rotary_emb: 16 }, /attn_rotary_emb: 16 is not understood/],
  [
    "nemotron_h-dense",
    { num_hidden_layers: 7 },
    /num_hidden_layers: expected 6, as many layers as have a block, found 7/,
  ],
  ["nemotron_h-dense", { layers_block_type: ["mamba", "rwkv"] }, /layers_block_type: "rwkv" is not understood/],
  ["nemotron_h-dense", { layers_block_type: null, hybrid_override_pattern: "M*X" }, /pattern: "X" is not understood/],
  ["nemotron_h-dense", { sliding_window: 12 }, /sliding_window: 12 is not understood/],
  ["nemotron_h-dense", { rms_norm_eps: 0.5 }, /rms_norm_eps: 0\.5 is not understood/],
  [
    "granitemoehybrid-nope-moe",
    { position_embedding_type: "alibi" },
    /"alibi" is not supported; supported: rope, nope/,
  ],
  ["granitemoehybrid-nope-moe", { normalization_function: "layernorm" }, /normalization_function: "layernorm" is not/],
  ["falcon_h1-norm", { ssm_multipliers: [1, 2] }, /ssm_multipliers: expected 5 numbers, found 2/],
  ["falcon_h1-norm", { mamba_use_mlp: false }, /mamba_use_mlp: false is not understood/],
  [
    "jamba-moe",
    { attn_layer_offset: 2 },
    /attn_layer_offset: expected a number below attn_layer_period \(2\), found 2/,
  ],
])("%s with %j is refused", (golden, changes, message) => {
  expect(() => describeConfig({ ...configOf(golden), ...changes })).toThrow(message);
});
