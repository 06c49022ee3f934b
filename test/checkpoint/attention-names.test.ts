import { expect, test } from "vitest";
import { attentionNames } from "../../src/checkpoint/attention-names.js";

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
    "scales are no attention": [["model.layers.0.self_attn.k_scale"], []],
  };

test.each(Object.entries(CHECKPOINTS))("%s", (_, [tensors, names]) => {
  expect([...attentionNames(tensors)]).toEqual(names);
});
