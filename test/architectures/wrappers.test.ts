// Multimodal models: the decoder is found in every layout of tensor names and of config.json, and nothing in towers of
// images and sound is taken for it. What nobody knows is refused in the decoder's config and beside it.

import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import type { TensorShapes } from "../../src/architectures/check-tensors.js";
import { describeModel } from "../../src/architectures/registry.js";
import { findPrefix, LLAMA_NAMES, TensorNames } from "../../src/architectures/tensor-names.js";
import { WRAPPERS } from "../../src/architectures/wrappers.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, UnsupportedModelError } from "../../src/errors.js";
import { configOf, goldenFolder, type Json, WRAPPER_GOLDENS } from "../helpers/golden-checkpoints.js";

type Tensors = Map<string, NonNullable<ReturnType<TensorShapes["get"]>>>;

async function tensorsOf(name: string, rename = (tensor: string) => tensor): Promise<Tensors> {
  const { tensors } = await openCheckpoint(goldenFolder(name));
  const entries = [...tensors.keys()].flatMap((tensor) => {
    const found = tensors.get(tensor);
    return found === undefined ? [] : [[rename(tensor), found] as const];
  });
  return new Map(entries);
}

/** Held by the renamed goldens below: most have towers that need more packages. */
const WITHOUT_GOLDEN = [
  ...["gemma3n", "minicpmv4_7", "minicpm_ocr", "NemotronH_Nano_Omni_Reasoning_V3", "NemotronH_Nano_VL_V2"],
  // The second is in ernie-vl-released.test.ts.
  ...["internvl_chat", "ernie4_5_moe_vl", "fast_vlm", "perception_lm"],
];

test("every wrapper has a golden checkpoint", () => {
  const made = new Set(WRAPPER_GOLDENS.map((name) => configOf(name).model_type));
  expect(Object.keys(WRAPPERS).filter((modelType) => !made.has(modelType))).toEqual(WITHOUT_GOLDEN);
});

const KEY = "self_attn.k_proj.weight";

/** Names as they stand in the files of released checkpoints and in those that transformers saves: some of each. */
const LAYOUTS: readonly (readonly [of: string, names: readonly string[], prefix: string, head: string])[] = [
  ["Qwen2.5-VL as released", [`model.layers.0.${KEY}`, "visual.blocks.0.attn.qkv.weight"], "model.", "lm_head"],
  [
    "Qwen3-VL as released",
    ["model.visual.blocks.0.attn.qkv.weight", `model.language_model.layers.0.${KEY}`],
    "model.language_model.",
    "lm_head",
  ],
  [
    "LLaVA 1.5 as released",
    [`vision_tower.vision_model.encoder.layers.0.${KEY}`, `language_model.model.layers.0.${KEY}`],
    "language_model.model.",
    "language_model.lm_head",
  ],
  [
    "LLaVA as transformers 4.52 has it in memory",
    [`model.vision_tower.vision_model.encoder.layers.0.${KEY}`, `model.language_model.layers.0.${KEY}`],
    "model.language_model.",
    "lm_head",
  ],
  [
    "Mistral Small 3.1",
    [
      "vision_tower.transformer.layers.0.attention.k_proj.weight",
      `language_model.model.layers.0.${KEY}`,
      "multi_modal_projector.linear_1.weight",
    ],
    "language_model.model.",
    "language_model.lm_head",
  ],
  [
    "Idefics3 and SmolVLM",
    [
      "model.connector.modality_projection.proj.weight",
      `model.text_model.layers.0.${KEY}`,
      `model.vision_model.encoder.layers.0.${KEY}`,
    ],
    "model.text_model.",
    "lm_head",
  ],
  [
    "Idefics2",
    [
      `model.connector.perceiver_resampler.layers.0.${KEY}`,
      `model.text_model.layers.0.${KEY}`,
      `model.vision_model.encoder.layers.0.${KEY}`,
    ],
    "model.text_model.",
    "lm_head",
  ],
  [
    "Qwen2.5-Omni",
    [
      `talker.model.layers.0.${KEY}`,
      `thinker.audio_tower.layers.0.${KEY}`,
      `thinker.model.layers.0.${KEY}`,
      "thinker.visual.blocks.0.attn.k.weight",
      "token2wav.code2wav_dit_model.transformer_blocks.0.attn.to_k.weight",
    ],
    "thinker.model.",
    "thinker.lm_head",
  ],
  [
    "Qwen3-Omni",
    [
      `code2wav.pre_transformer.layers.0.${KEY}`,
      `talker.code_predictor.model.layers.0.${KEY}`,
      `talker.model.layers.0.${KEY}`,
      `thinker.audio_tower.layers.0.${KEY}`,
      `thinker.model.layers.0.${KEY}`,
    ],
    "thinker.model.",
    "thinker.lm_head",
  ],
  [
    "Qwen2-Audio, Voxtral",
    [`audio_tower.layers.0.${KEY}`, `language_model.model.layers.0.${KEY}`],
    "language_model.model.",
    "language_model.lm_head",
  ],
  [
    "Qwen2-Audio in memory",
    [`model.audio_tower.layers.0.${KEY}`, `model.language_model.layers.0.${KEY}`],
    "model.language_model.",
    "lm_head",
  ],
  [
    "Granite Speech",
    [
      "encoder.layers.0.attn.to_kv.weight",
      `language_model.model.layers.0.${KEY}`,
      "projector.qformer.layernorm.weight",
    ],
    "language_model.model.",
    "language_model.lm_head",
  ],
  [
    "Video-LLaVA",
    [
      `image_tower.vision_model.encoder.layers.0.${KEY}`,
      `language_model.model.layers.0.${KEY}`,
      `video_tower.vision_model.encoder.layers.0.${KEY}`,
    ],
    "language_model.model.",
    "language_model.lm_head",
  ],
  [
    "InternVL in its own form",
    [`language_model.model.layers.0.${KEY}`, "vision_model.encoder.layers.0.attn.qkv.weight", "mlp1.0.weight"],
    "language_model.model.",
    "language_model.lm_head",
  ],
  [
    "DeepSeek-VL",
    [`model.language_model.layers.0.${KEY}`, `model.vision_model.encoder.layers.0.${KEY}`],
    "model.language_model.",
    "lm_head",
  ],
  [
    "Gemma 3n",
    [
      "model.audio_tower.conformer.0.attention.attn.k_proj.weight",
      `model.language_model.layers.0.${KEY}`,
      "model.vision_tower.timm_model.blocks.0.0.conv_exp.weight",
    ],
    "model.language_model.",
    "lm_head",
  ],
  [
    "PaddleOCR-VL",
    ["mlp_AR.linear_1.weight", `model.layers.0.${KEY}`, `visual.vision_model.encoder.layers.0.${KEY}`],
    "model.",
    "lm_head",
  ],
];

test.each(LAYOUTS)("the decoder of %s is found beside towers, in any order", (_of, names, prefix, head) => {
  for (const order of [names, names.toReversed()]) {
    expect(findPrefix(LLAMA_NAMES, order)).toBe(prefix);
    expect(new TensorNames(LLAMA_NAMES, prefix).head).toBe(head);
  }
});

test.each(["vision_tower.encoder.", "model.audio_tower.", "talker.model.", "code2wav.pre_transformer."])(
  "%slayers alone are no decoder",
  (prefix) => {
    expect(() => findPrefix(LLAMA_NAMES, [`${prefix}layers.0.${KEY}`])).toThrow(CheckpointError);
  },
);

describe("another layout of the same names describes the same decoder", () => {
  const inOrder: readonly (readonly [golden: string, from: string, to: string, heads: readonly [string, string]])[] = [
    ["llava-llama", "language_model.model.", "model.language_model.", ["language_model.lm_head", "lm_head"]],
    ["qwen2_vl-window", "model.", "model.language_model.", ["lm_head", "lm_head"]],
    ["qwen3_vl-plain", "model.language_model.", "language_model.model.", ["lm_head", "language_model.lm_head"]],
    ["qwen3_omni_moe_thinker-dense-layer", "model.", "thinker.model.", ["lm_head", "thinker.lm_head"]],
    ["paddleocr_vl-plain", "model.", "model.language_model.", ["lm_head", "lm_head"]],
  ];

  test.each(inOrder)("%s, %s as %s", async (golden, from, to, [head, headThere]) => {
    const rename = (name: string) =>
      name.startsWith(from) && !/tower|visual/.test(name)
        ? to + name.slice(from.length)
        : name.replace(head, headThere);
    const config = configOf(golden);
    const here = describeModel(config, await tensorsOf(golden));
    const there = describeModel(config, await tensorsOf(golden, rename));
    const text = JSON.stringify(here).replaceAll(`"${from}`, `"${to}`).replaceAll(`"${head}.`, `"${headThere}.`);
    expect(JSON.parse(JSON.stringify(there))).toEqual(JSON.parse(text));
    const site = cacheSites(there)[1]?.name;
    expect(site).toBe(`${to}layers.1.self_attn`);
  });
});

describe("a text model's checkpoint inside a wrapper describes the same decoder", () => {
  test.each([
    ["gemma3n", "gemma3n_text-shared", "model.", "model.language_model."],
    ["qwen3_5_moe", "qwen3_5_moe_text-plain", "model.", "model.language_model."],
    ["minicpmv4_7", "qwen3_5_text-plain", "model.", "model.language_model."],
    ["minicpm_ocr", "qwen3_5_text-plain", "model.", "model.language_model."],
    ["NemotronH_Nano_Omni_Reasoning_V3", "nemotron_h-moe", "backbone.", "language_model.backbone."],
    ["NemotronH_Nano_VL_V2", "nemotron_h-dense", "backbone.", "language_model.backbone."],
    ["internvl_chat", "qwen2-bias", "model.", "language_model.model."],
    ["fast_vlm", "qwen2-tied", "model.", "model.language_model."],
    ["perception_lm", "llama-head-dim", "model.", "model.language_model."],
  ])("%s around %s", async (modelType, golden, from, to) => {
    const rename = (name: string) => (name.startsWith(from) ? to + name.slice(from.length) : name);
    const text = describeModel(configOf(golden), await tensorsOf(golden));
    const config = { model_type: modelType, [WRAPPERS[modelType]?.decoderKey ?? ""]: configOf(golden) };
    const whole = describeModel(config, await tensorsOf(golden, rename));
    const expected = JSON.stringify(text).replaceAll(`"${from}`, `"${to}`);
    const { end, ...others } = JSON.parse(expected) as typeof text;
    expect({ ...whole, end: undefined }).toEqual({ ...others, end: undefined });
    expect(whole.end.norm).toEqual(end.norm);
  });

  test("beside the keys that released files of Nemotron Nano VL have there", async () => {
    const rename = (name: string) => `language_model.${name}`;
    const config = {
      ...{ model_type: "NemotronH_Nano_VL_V2", architectures: ["NemotronH_Nano_VL_V2"], max_sequence_length: 131_072 },
      ...{ force_image_size: 512, downsample_ratio: 0.5, patch_size: 16, use_thumbnail: true, vit_hidden_size: 1280 },
      ...{ img_context_token_id: 18, img_context_token: "<image>", img_start_token: "<img>", img_end_token: "</img>" },
      ...{ sound_context_token_id: 27, sound_context_token: "<so_embedding>", projector_hidden_size: 20_480 },
      ...{ norm_mean: [0.5, 0.5, 0.5], norm_std: [0.3, 0.3, 0.3], vision_config: { version: "radio_v2.5-h" } },
      ...{ sound_config: { model_type: "parakeet" }, llm_config: configOf("nemotron_h-dense") },
    };
    const { end } = describeModel(config, await tensorsOf("nemotron_h-dense", rename));
    expect(end.head).toMatchObject({ name: "language_model.lm_head.weight" });
  });
});

describe("config.json of transformers 4 describes the same decoder", () => {
  test.each(WRAPPER_GOLDENS)("%s", async (name) => {
    const tensors = await tensorsOf(name);
    const decoder = describeModel(configOf(name), tensors);
    expect(describeModel(configOf(name, "config.v4.json"), tensors)).toEqual(decoder);
  });
});

describe("a key that nobody knows is refused by name", () => {
  const places = (name: string) =>
    configOf(name).thinker_config ? ["", "thinker_config", "thinker_config.text_config"] : ["", "text_config"];
  const cases = ["qwen2_5_vl-plain", "qwen2_5_omni-plain", "llava-llama", "gemma3-gemma3"].flatMap((name) =>
    places(name).map((place) => ({ name, place })),
  );

  test.each(cases)("$name, in $place", async ({ name, place }) => {
    const changed = withAt(configOf(name), place === "" ? [] : place.split("."), { x_unknown: 1 });
    const path = place === "" ? "x_unknown" : `${place}.x_unknown`;
    const tensors = await tensorsOf(name);
    expect(() => describeModel(changed, tensors)).toThrow(`config.json: ${path}: 1 is not understood`);
    expect(() => describeModel(changed, tensors, { assumeHarmless: [path] })).not.toThrow();
  });

  test.each(["projector_hidden_act", "vision_feature_layer", "talker_config"])(
    "%s belongs beside the decoder's config, not into it",
    async (key) => {
      const tensors = await tensorsOf("llava-llama");
      expect(() => describeModel({ ...configOf("llava-llama"), [key]: "gelu" }, tensors)).not.toThrow();
      const inside = withAt(configOf("llava-llama"), ["text_config"], { [key]: "gelu" });
      expect(() => describeModel(inside, tensors)).toThrow(`text_config.${key}`);
    },
  );
});

function withAt(config: Json, path: readonly string[], added: Json): Json {
  const [key, ...rest] = path;
  return key === undefined ? { ...config, ...added } : { ...config, [key]: withAt(config[key] as Json, rest, added) };
}

describe("the output head", () => {
  const without = (tensors: Tensors, head: string) => {
    tensors.delete(head);
    return tensors;
  };

  test("is the checkpoint's own, whatever config.json says of tied weights", async () => {
    const tensors = await tensorsOf("llava-llama");
    for (const isTied of [true, false]) {
      const config = { ...configOf("llava-llama"), tie_word_embeddings: isTied };
      expect(describeModel(config, tensors).end.head).toMatchObject({ name: "language_model.lm_head.weight" });
    }
  });

  test.each<[string, Json, Json]>([
    ["beside the decoder's config", { tie_word_embeddings: true }, {}],
    ["in the decoder's config", { tie_word_embeddings: false }, { tie_word_embeddings: true }],
  ])("is the embedding where there is none, and %s weights are tied", async (_where, outer, inner) => {
    const config = withAt({ ...configOf("llava-llama"), ...outer }, ["text_config"], inner);
    const tensors = without(await tensorsOf("llava-llama"), "language_model.lm_head.weight");
    expect(describeModel(config, tensors).end.head).toMatchObject({ name: "language_model.model.embed_tokens.weight" });
  });
});

describe("sections of M-RoPE are held against the dimensions that rotate", () => {
  test.each<[string, readonly unknown[]]>([
    ["too few pairs", [1, 1, 1]],
    ["too many pairs", [16, 24, 24]],
    ["half a pair", [1.5, 0.5, 2]],
    ["less than none", [5, -2, 1]],
  ])("%s", async (_rule, sections) => {
    const config = configOf("qwen2_5_vl-plain");
    const rope = (config.text_config as Json).rope_parameters as Json;
    const changed = withAt(config, ["text_config"], { rope_parameters: { ...rope, mrope_section: sections } });
    await expect(tensorsOf("qwen2_5_vl-plain").then((tensors) => describeModel(changed, tensors))).rejects.toThrow(
      /rope_parameters\.mrope_section: expected numbers of pairs that add up to 4/,
    );
  });

  test("a family without M-RoPE refuses them", async () => {
    const config = withAt(configOf("llava-mistral"), ["text_config"], {
      rope_parameters: { rope_type: "default", rope_theta: 1000, mrope_section: [2, 3, 3] },
    });
    const tensors = await tensorsOf("llava-mistral");
    expect(() => describeModel(config, tensors)).toThrow(UnsupportedModelError);
  });
});

test("without the object that has the decoder's config, the key is named", () => {
  expect(() => describeModel({ model_type: "llava", hidden_size: 8 }, new Map())).toThrow(
    "config.json: text_config: expected an object, found nothing",
  );
  expect(() => describeModel({ model_type: "qwen2_5_omni", thinker_config: {} }, new Map())).toThrow(
    "config.json: thinker_config.text_config: expected an object, found nothing",
  );
});
