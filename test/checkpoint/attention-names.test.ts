import { describe, expect, test } from "vitest";
import { blocksOf } from "../../src/architectures/description.js";
import { describeModel } from "../../src/architectures/registry.js";
import { attentionNames, attentionsByConfig } from "../../src/checkpoint/attention-names.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { configOf, DIALECTS, GOLDEN_NAMES, goldenFolder } from "../helpers/golden-checkpoints.js";

/** Names of tensors, and the attention of each decoder layer that they tell of. */
const CHECKPOINTS: Readonly<Record<string, readonly [tensors: readonly string[], names: readonly [number, string][]]>> =
  {
    "a Llama": [
      ["model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.k_proj.weight"],
      [
        [0, "model.layers.0.self_attn"],
        [1, "model.layers.1.self_attn"],
      ],
    ],
    "layers in the order of their numbers": [
      ["model.layers.10.self_attn.k_proj.weight", "model.layers.9.self_attn.k_proj.weight"],
      [
        [9, "model.layers.9.self_attn"],
        [10, "model.layers.10.self_attn"],
      ],
    ],
    "a base model without prefix": [["layers.0.self_attn.k_proj.weight"], [[0, "layers.0.self_attn"]]],
    "quantized weights (GPTQ, compressed-tensors)": [
      ["model.layers.0.self_attn.k_proj.qweight", "model.layers.1.self_attn.k_proj.weight_packed"],
      [
        [0, "model.layers.0.self_attn"],
        [1, "model.layers.1.self_attn"],
      ],
    ],
    "fused projections": [["model.layers.0.self_attn.qkv_proj.weight"], [[0, "model.layers.0.self_attn"]]],
    "the decoder of a multimodal model, however tall its tower": [
      [
        "model.language_model.layers.0.self_attn.k_proj.weight",
        "model.vision_tower.encoder.layers.0.self_attn.k_proj.weight",
        "model.vision_tower.encoder.layers.1.self_attn.k_proj.weight",
      ],
      [[0, "model.language_model.layers.0.self_attn"]],
    ],
    "the tallest stack, not a layer for drafts": [
      [
        "mtp.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.1.self_attn.k_proj.weight",
      ],
      [
        [0, "model.layers.0.self_attn"],
        [1, "model.layers.1.self_attn"],
      ],
    ],
    "only layers that have attention, where others have none": [
      ["model.layers.0.linear_attn.in_proj.weight", "model.layers.3.self_attn.k_proj.weight"],
      [[3, "model.layers.3.self_attn"]],
    ],
    "no linear attention, which has projections of keys, however many layers of it": [
      [
        "model.layers.0.linear_attn.k_proj.weight",
        "model.layers.1.linear_attn.k_proj.weight",
        "model.layers.2.self_attn.k_proj.weight",
      ],
      [[2, "model.layers.2.self_attn"]],
    ],
    "layers that read the cache of another, too": [
      ["model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.q_proj.weight"],
      [
        [0, "model.layers.0.self_attn"],
        [1, "model.layers.1.self_attn"],
      ],
    ],
    "two attentions in each layer, as in LongCat: each counts as a layer": [
      [0, 1].flatMap((layer) => [0, 1].map((at) => `model.layers.${layer}.self_attn.${at}.kv_b_proj.weight`)),
      [
        [0, "model.layers.0.self_attn.0"],
        [1, "model.layers.0.self_attn.1"],
        [2, "model.layers.1.self_attn.0"],
        [3, "model.layers.1.self_attn.1"],
      ],
    ],
    "scales are no attention": [["model.layers.0.self_attn.k_scale"], []],
  };

test.each(Object.entries(CHECKPOINTS))("%s", (_, [tensors, names]) => {
  expect([...attentionNames(tensors)]).toEqual(names);
});

const PREFIX = "model.layers.";
const everyLayer = Array.from({ length: 4 }, (_, layer) => `${PREFIX}${layer}.self_attn.k_proj.weight`);

/** Keys of config.json, and the layers of four with a k_proj that have a K/V cache. */
const CONFIGS: readonly (readonly [config: Record<string, unknown>, layers: readonly number[]])[] = [
  [{}, [0, 1, 2, 3]],
  [{ num_hidden_layers: 3 }, [0, 1, 2]],
  [{ n_layer: 2 }, [0, 1]],
  [{ text_config: { num_hidden_layers: 3 } }, [0, 1, 2]],
  [{ num_hidden_layers: "3" }, [0, 1, 2, 3]],
  [{ layer_types: ["linear_attention", "full_attention", "sliding_attention", "chunked_attention"] }, [1, 2, 3]],
  [{ layer_types: ["conv", "conv", "full_attention", "conv"] }, [2]],
  [{ layers_block_type: ["mamba", "hybrid", "mamba", "attention"] }, [1, 3]],
  [{ hybrid_override_pattern: "M*-E" }, [1]],
  [{ attn_type_list: [0, 0, 1, 0] }, [2]],
  [{ linear_attn_config: { kda_layers: [1, 2, 3], full_attn_layers: [4] } }, [3]],
  [{ text_config: { layer_types: ["mamba", "attention", "mamba", "mamba"] } }, [1]],
];

test.each(CONFIGS)("by %j, the layers with a cache are %j", (config, layers) => {
  expect([...attentionsByConfig(everyLayer, config).keys()]).toEqual(layers);
});

describe("they are the layers with attention of the description, by the same names", () => {
  test.each(GOLDEN_NAMES)("%s", async (name) => {
    const { config, tensors } = await openCheckpoint(goldenFolder(name));
    const described = describeModel(config, tensors).layers.flatMap((layer) =>
      blocksOf(layer).flatMap((block) =>
        block.kind === "attention" || block.kind === "shared-attention" ? [[layer.index, block.name]] : [],
      ),
    );
    for (const dialect of DIALECTS) {
      expect([...attentionsByConfig(tensors.keys(), configOf(name, dialect))], dialect).toEqual(described);
    }
  });
});
