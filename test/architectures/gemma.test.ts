// What config.json says of Gemma's decoders: defaults that released files rely on, sizes by layer, layers that share caches,
// and what is refused.

import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { blocksOf, type Decoder } from "../../src/architectures/description.js";
import { ModelConfig } from "../../src/architectures/model-config.js";
import { normalQuantile } from "../../src/architectures/normal-quantile.js";
import { ARCHITECTURES, describeModel } from "../../src/architectures/registry.js";
import { LLAMA_NAMES, TensorNames } from "../../src/architectures/tensor-names.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { scaleNames, scaleTensors } from "../../src/checkpoint/output-formats.js";
import { attentionOfLayer, feedForwardOfLayer } from "../helpers/descriptions.js";
import { configOf, goldenFolder, type Json } from "../helpers/golden-checkpoints.js";

/** Without a look at tensors. */
function describeConfig(config: Json): Decoder {
  const family = ARCHITECTURES[String(config.model_type)];
  if (family === undefined) throw new Error("no such family");
  return family.describe({ config: new ModelConfig(config), names: new TensorNames(LLAMA_NAMES, "model.") });
}

function attentions(decoder: Decoder) {
  return decoder.layers.map((layer) => {
    const found = blocksOf(layer).find(({ kind }) => kind === "attention" || kind === "shared-attention");
    if (found?.kind !== "attention" && found?.kind !== "shared-attention") throw new Error("no attention");
    return found;
  });
}

describe("what released files leave out is what transformers takes", () => {
  test("the text of Gemma 3 4B says six keys", () => {
    const decoder = describeConfig({
      ...{ model_type: "gemma3_text", hidden_size: 2560, intermediate_size: 10240, num_hidden_layers: 34 },
      ...{ rope_scaling: { factor: 8, rope_type: "linear" }, sliding_window: 1024 },
    });
    const [first, , , , , sixth] = attentions(decoder);
    expect(first).toMatchObject({ heads: 8, kvHeads: 4, headDim: 256, slidingWindow: 1024, scale: 1 / 16 });
    expect(sixth?.slidingWindow).toBeUndefined();
    expect([first?.rope?.rope, sixth?.rope?.rope]).toEqual([0, 1]);
    expect(decoder.ropes).toEqual([
      { theta: 10_000, dimensions: 256, scaling: { type: "default" } },
      { theta: 1_000_000, dimensions: 256, scaling: { type: "linear", factor: 8 } },
    ]);
    expect([decoder.vocabularySize, decoder.end.softcap]).toEqual([262_208, undefined]);
  });

  test("Gemma 2 caps scores and logits unless config.json says null", () => {
    const config = { model_type: "gemma2" };
    const caps = (given: Json) => {
      const decoder = describeConfig({ ...config, ...given });
      return [attentionOfLayer(decoder.layers[0]).softcap, decoder.end.softcap];
    };
    expect(caps({})).toEqual([50, 30]);
    expect(caps({ attn_logit_softcapping: null, final_logit_softcapping: null })).toEqual([undefined, undefined]);
    expect(caps({ attn_logit_softcapping: 7, final_logit_softcapping: 9 })).toEqual([7, 9]);
  });

  test('"gelu" of Gemma 1 is its approximation', () => {
    const activation = feedForwardOfLayer(describeConfig({ model_type: "gemma", hidden_act: "gelu" }).layers[0]);
    expect(activation.activation).toBe("gelu_tanh");
    const config = { model_type: "gemma", hidden_act: "gelu", hidden_activation: "silu" };
    expect(() => describeConfig(config)).toThrow("hidden_activation");
  });
});

describe("the last layers of Gemma 3n and 4 read the caches of earlier ones", () => {
  const config = configOf("gemma4_text-e-model");

  test("each that of the last of its type before them; the cache keeps its owner's scales under their names, too", () => {
    const sites = cacheSites(describeConfig(config));
    expect(sites.map(({ layer, sharedBy }) => [layer, sharedBy.map((reader) => reader.layer)])).toEqual([
      [0, []],
      [1, []],
      [2, [4]],
      [3, [5]],
    ]);
    const scales = sites.map(({ layer }) => ({ layer, kScale: layer + 1, vScale: layer + 11, kvScale: layer + 11 }));
    const tensors = scaleTensors("vllm", scales, scaleNames(sites));
    const of = (layer: number) =>
      tensors
        .filter(({ name }) => name.startsWith(`model.layers.${layer}.`))
        .map(({ name, values }) => [name.slice(`model.layers.${layer}.`.length), ...values]);
    expect(of(4)).toEqual(of(2));
    expect(of(5)).toEqual(of(3));
    expect(of(4)).toHaveLength(2);
  });

  test("their own K and V in a file are passed over, other tensors are not", async () => {
    const { tensors } = await openCheckpoint(goldenFolder("gemma4_text-e-model"));
    expect(tensors.get("model.layers.4.self_attn.k_proj.weight")).toBeDefined();
    const shapes = new Map([...tensors.keys()].map((name) => [name, tensors.get(name)] as const));
    expect(() => describeModel(config, shapes)).not.toThrow();
    const stranger = tensors.get("model.layers.4.self_attn.k_norm.weight");
    shapes.set("model.layers.4.self_attn.kv_norm.weight", stranger);
    expect(() => describeModel(config, shapes)).toThrow("kv_norm");
  });

  test.each([
    ["more layers than there are", { num_kv_shared_layers: 7 }],
    ["all of a type", { num_kv_shared_layers: 5 }],
  ])("%s cannot", (_rule, changes) => {
    expect(() => describeConfig({ ...config, ...changes })).toThrow("num_kv_shared_layers");
  });
});

describe("layers of Gemma 4 differ in their heads", () => {
  const config = configOf("gemma4_text-dense");
  const { per_layer_config: _, ...without } = config;
  const headsOf = (given: Json) => attentions(describeConfig(given)).map(({ headDim, kvHeads }) => [headDim, kvHeads]);

  test("by number, filled up with zeros or not", () => {
    const padded = { "02": { head_dim: 16, num_key_value_heads: 1 }, "03": { head_dim: 16, num_key_value_heads: 1 } };
    expect(headsOf({ ...config, per_layer_config: padded })).toEqual(headsOf(config));
    expect(headsOf(config)).toEqual([
      [8, 2],
      [8, 2],
      [16, 1],
      [16, 1],
    ]);
  });

  test("else by type; an empty per_layer_config says that they do not", () => {
    const global = { global_head_dim: 16, num_global_key_value_heads: 1 };
    expect(headsOf({ ...without, ...global })).toEqual(headsOf(config));
    expect(headsOf({ ...without, ...global, attention_k_eq_v: false })[2]).toEqual([16, 2]);
    expect(headsOf(without)[2]).toEqual([512, 2]);
    expect(headsOf({ ...without, ...global, per_layer_config: {} })[2]).toEqual([8, 2]);
  });

  test("the last sees everything, whatever is written", () => {
    const types = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"];
    expect(attentions(describeConfig({ ...config, layer_types: types })).at(-1)?.slidingWindow).toBeUndefined();
  });

  test.each<[string, Json]>([
    ["per_layer_config", { per_layer_config: { "4": { head_dim: 16 } } }],
    ["per_layer_config", { per_layer_config: { full_attention: { head_dim: 16 } } }],
    ["head_dim", { per_layer_config: { "2": { head_dim: 15 }, "3": { head_dim: 15 } } }],
    ["head_dim", { per_layer_config: { "2": { head_dim: 16 }, "3": { head_dim: 32 } } }],
    ["num_key_value_heads", { per_layer_config: { "0": { num_key_value_heads: 3 } } }],
    ["num_experts", { enable_moe_block: true }],
    ["top_k_experts", { enable_moe_block: true, num_experts: 2, top_k_experts: 3, moe_intermediate_size: 8 }],
    ["use_bidirectional_attention", { use_bidirectional_attention: "all" }],
    [
      "partial_rotary_factor",
      {
        rope_parameters: {
          full_attention: { rope_type: "proportional", partial_rotary_factor: 2 },
          sliding_attention: {},
        },
      },
    ],
  ])("%s is refused where it says something else", (key, changes) => {
    expect(() => describeConfig({ ...config, ...changes })).toThrow(key);
  });

  test("what their config.json says of a layer and nobody reads is refused", async () => {
    const { tensors } = await openCheckpoint(goldenFolder("gemma4_text-dense"));
    const changes = {
      per_layer_config: {
        "2": { head_dim: 16, num_key_value_heads: 1, sliding_window: 3 },
        "3": { head_dim: 16, num_key_value_heads: 1 },
      },
    };
    expect(() => describeModel({ ...config, ...changes }, tensors)).toThrow("per_layer_config.2.sliding_window");
  });
});

describe("Gemma 3n", () => {
  const config = configOf("gemma3n_text-shared");

  test.each<[string, Json]>([
    ["altup_num_inputs", { altup_num_inputs: 1 }],
    ["altup_active_idx", { altup_active_idx: 3 }],
    ["hidden_size_per_layer_input", { hidden_size_per_layer_input: 0 }],
    ["activation_sparsity_pattern", { activation_sparsity_pattern: [0.5] }],
    ["activation_sparsity_pattern", { activation_sparsity_pattern: [1, 0, 0, 0, 0, 0] }],
    ["intermediate_size", { intermediate_size: [16, 16] }],
  ])("%s is refused where it cannot be", (key, changes) => {
    expect(() => describeConfig({ ...config, ...changes })).toThrow(key);
  });

  test("keeps 5 % of the gates of the first ten layers where config.json does not say", () => {
    const { activation_sparsity_pattern: _, layer_types: __, ...rest } = config;
    const { layers } = describeConfig({ ...rest, num_hidden_layers: 20, intermediate_size: 16 });
    const cutoffs = layers.map((layer) => feedForwardOfLayer(layer).gateCutoff);
    expect(cutoffs[9]).toBeCloseTo(1.6448536, 6);
    expect(cutoffs[10]).toBeUndefined();
  });
});

// Of tables of the normal distribution.
test.each([
  [0.5, 0],
  [0.8, 0.8416212335729143],
  [0.95, 1.6448536269514722],
  [0.975, 1.959963984540054],
  [0.999, 3.090232306167813],
  [0.02, -2.053748910631823],
])("the quantile of %d is %d deviations", (share, deviations) => {
  expect(normalQuantile(share)).toBeCloseTo(deviations, 11);
});
