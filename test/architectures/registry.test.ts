// Which checkpoints are described, how, and which are refused. Tensors are names and shapes here: no file is read.

import { describe, expect, test } from "vitest";
import { tensorsOfLayer } from "../../src/architectures/block-facts.js";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import type { TensorShapes } from "../../src/architectures/check-tensors.js";
import { branchesOf, type Decoder } from "../../src/architectures/description.js";
import { describeModel } from "../../src/architectures/registry.js";
import { tensorSource } from "../../src/architectures/weight-source.js";
import { CheckpointError, UnsupportedModelError } from "../../src/errors.js";
import { attentionOfLayer, feedForwardOfLayer } from "../helpers/descriptions.js";
import type { Json } from "../helpers/golden-checkpoints.js";

type Tensors = Map<string, { shape: number[]; dtype: string; file: string }>;

const SMALL = {
  vocab_size: 100,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
};

function configOf(modelType: string, changes: Json = {}): Json {
  return { model_type: modelType, ...SMALL, ...changes };
}

/** The tensors of a checkpoint as its family has them, written down by hand and not taken from the code under test. */
function tensorsOf(config: Json, prefix = "model."): Tensors {
  const biasOf = { qwen2: ["q", "k", "v"], llama: [], mistral: [], qwen3: [] }[String(config.model_type)] ?? [];
  const tensors: Tensors = new Map();
  const add = (name: string, ...shape: number[]) =>
    tensors.set(name, { shape, dtype: "BF16", file: "model.safetensors" });
  const outputs = { q: 64, k: 32, v: 32 };
  add(`${prefix}embed_tokens.weight`, 100, 32);
  for (const layer of [0, 1, 2]) {
    const at = `${prefix}layers.${layer}`;
    for (const [side, rows] of Object.entries(outputs)) add(`${at}.self_attn.${side}_proj.weight`, rows, 32);
    for (const side of biasOf) add(`${at}.self_attn.${side}_proj.bias`, outputs[side as "q"]);
    add(`${at}.self_attn.o_proj.weight`, 32, 64);
    if (config.model_type === "qwen3") for (const side of ["q", "k"]) add(`${at}.self_attn.${side}_norm.weight`, 16);
    for (const side of ["gate", "up"]) add(`${at}.mlp.${side}_proj.weight`, 48, 32);
    add(`${at}.mlp.down_proj.weight`, 32, 48);
    for (const norm of ["input_layernorm", "post_attention_layernorm"]) add(`${at}.${norm}.weight`, 32);
  }
  add(`${prefix}norm.weight`, 32);
  add("lm_head.weight", 100, 32);
  return tensors;
}

function describeWith(config: Json, change: (tensors: Tensors) => void = () => {}): Decoder {
  const tensors = tensorsOf(config);
  change(tensors);
  return describeModel(config, tensors satisfies TensorShapes);
}

/** Those that are Llama with few differences: their tensors are written down above. */
const LLAMA_LIKE = ["llama", "mistral", "qwen2", "qwen3"];

describe.each(LLAMA_LIKE)("%s", (modelType) => {
  const config = configOf(modelType);

  test("is described with its sizes and the names of its tensors", () => {
    const decoder = describeWith(config);
    const [, layer] = decoder.layers;
    expect(decoder).toMatchObject({
      modelType,
      hiddenSize: 32,
      vocabularySize: 100,
      embedding: { weight: "model.embed_tokens.weight" },
    });
    expect(decoder.layers.map(({ index }) => index)).toEqual([0, 1, 2]);
    const attention = attentionOfLayer(layer);
    expect(attention).toMatchObject({ name: "model.layers.1.self_attn", heads: 4, kvHeads: 2, headDim: 16 });
    const weight = tensorSource("model.layers.1.self_attn.k_proj.weight", [32, 32]);
    expect(attention.key).toMatchObject({ weight, inputs: 32, outputs: 32 });
    expect(layer && branchesOf(layer).map(({ norm }) => norm)).toMatchObject([
      { weight: tensorSource("model.layers.1.input_layernorm.weight", [32]), size: 32 },
      { weight: tensorSource("model.layers.1.post_attention_layernorm.weight", [32]) },
    ]);
    expect(feedForwardOfLayer(layer)).toMatchObject({ activation: "silu", down: { inputs: 48, outputs: 32 } });
  });

  test("has a cache in each layer", () => {
    const name = (layer: number) => `model.layers.${layer}.self_attn`;
    const sizes = { kvHeads: 2, keyDim: 16, valueDim: 16, sharedBy: [] };
    expect(cacheSites(describeWith(config))).toEqual(
      [0, 1, 2].map((layer) => ({ layer, name: name(layer), ...sizes })),
    );
  });

  test("uses every tensor of its layers, and no other", () => {
    const used = describeWith(config).layers.flatMap((layer) => [...tensorsOfLayer(layer).keys()]);
    const present = [...tensorsOf(config).keys()].filter((name) => name.includes(".layers."));
    expect(used.toSorted()).toEqual(present.toSorted());
  });

  test.each(["model.", "", "model.language_model.", "language_model.model."])(
    "is found behind the prefix %j",
    (prefix) => {
      const decoder = describeModel(config, tensorsOf(config, prefix));
      expect(decoder.embedding.weight).toBe(`${prefix}embed_tokens.weight`);
      expect(attentionOfLayer(decoder.layers[2]).name).toBe(`${prefix}layers.2.self_attn`);
    },
  );

  test.each<[string, string, (tensors: Tensors) => void, typeof CheckpointError | typeof UnsupportedModelError]>([
    [
      "a missing weight",
      "model.layers.2.mlp.up_proj.weight",
      (t) => t.delete("model.layers.2.mlp.up_proj.weight"),
      CheckpointError,
    ],
    ["a missing embedding", "model.embed_tokens.weight", (t) => t.delete("model.embed_tokens.weight"), CheckpointError],
    [
      "a missing first layer",
      "layers.0.self_attn.k_proj.weight",
      (t) => t.delete("model.layers.0.self_attn.k_proj.weight"),
      CheckpointError,
    ],
    [
      "a weight of another shape",
      "expected shape [32, 32] by config.json, found [16, 32]",
      (t) => resize(t, "model.layers.1.self_attn.k_proj.weight", [16, 32]),
      CheckpointError,
    ],
    [
      "a weight with another number of axes",
      "found [64]",
      (t) => resize(t, "model.layers.1.self_attn.q_proj.weight", [64]),
      CheckpointError,
    ],
    [
      "a tensor that no part of the description uses",
      "model.layers.1.self_attn.sinks",
      (t) => resize(t, "model.layers.1.self_attn.sinks", [4]),
      UnsupportedModelError,
    ],
    [
      "a bias that config.json does not mention",
      "model.layers.1.self_attn.o_proj.bias",
      (t) => resize(t, "model.layers.1.self_attn.o_proj.bias", [32]),
      UnsupportedModelError,
    ],
    [
      "a layer more than config.json counts",
      "model.layers.3.input_layernorm.weight",
      (t) => resize(t, "model.layers.3.input_layernorm.weight", [32]),
      UnsupportedModelError,
    ],
    [
      "weights of 8 bits",
      "dtype F8_E4M3",
      (t) => retype(t, "model.layers.1.mlp.up_proj.weight", "F8_E4M3"),
      UnsupportedModelError,
    ],
    [
      "packed weights",
      "qweight",
      (t) => resize(t, "model.layers.1.mlp.up_proj.qweight", [4, 48]),
      UnsupportedModelError,
    ],
  ])("is refused with %s", (_rule, message, change, kind) => {
    const run = () => describeWith(config, change);
    expect(run).toThrow(kind);
    expect(run).toThrow(message);
  });

  test.each([
    "model.layers.1.self_attn.rotary_emb.inv_freq",
    "model.layers.1.self_attn.kv_scale",
    "model.layers.1.self_attn.k_scale",
    "model.layers.1.self_attn.v_proj.v_scale",
    "model.vision_tower.blocks.0.weight",
    "visual.patch_embed.weight",
  ])("may have %s beside its weights", (name) => {
    expect(describeWith(config, (tensors) => resize(tensors, name, [1]))).toEqual(describeWith(config));
  });

  test.each<[string, Json, string, typeof CheckpointError | typeof UnsupportedModelError]>([
    [
      "no hidden_size",
      { hidden_size: null },
      "config.json: hidden_size: expected a positive integer, found nothing",
      CheckpointError,
    ],
    [
      "hidden_size that is a string",
      { hidden_size: "32" },
      'hidden_size: expected a positive integer, found "32"',
      CheckpointError,
    ],
    ["half a layer", { num_hidden_layers: 2.5 }, "num_hidden_layers", CheckpointError],
    ["no layers", { num_hidden_layers: 0 }, "num_hidden_layers", CheckpointError],
    [
      "KV heads that do not divide the heads",
      { num_key_value_heads: 3 },
      "num_key_value_heads: 3 does not divide",
      CheckpointError,
    ],
    ["an odd head_dim", { head_dim: 15 }, "head_dim: expected an even number", CheckpointError],
    ["a norm without epsilon", { rms_norm_eps: 0 }, "rms_norm_eps", CheckpointError],
    ["an unknown activation", { hidden_act: "mish" }, 'hidden_act: "mish"', UnsupportedModelError],
    [
      "an activation named like a method of objects",
      { hidden_act: "toString" },
      'hidden_act: "toString"',
      UnsupportedModelError,
    ],
    [
      "an unknown layer type",
      { layer_types: ["full_attention", "linear_attention", "full_attention"] },
      "layer_types",
      UnsupportedModelError,
    ],
    [
      "a layer type that is no string",
      { layer_types: [1, 2, 3] },
      "layer_types: expected a list of strings",
      CheckpointError,
    ],
    ["attention that sees what comes after", { is_causal: false }, "is_causal: false", UnsupportedModelError],
    ["queries scaled by their position", { llama_4_scaling: { beta: 0.1 } }, "llama_4_scaling", UnsupportedModelError],
    ["attention in two chunks", { dual_chunk_attention_config: { a: 1 } }, "dual_chunk", UnsupportedModelError],
    [
      "a key that nobody knows",
      { layer_scale: 2 },
      "accept it with --assume-harmless layer_scale",
      UnsupportedModelError,
    ],
    ["partial rotation", { partial_rotary_factor: 0.5 }, "partial_rotary_factor: 0.5", UnsupportedModelError],
    ["interleaved rotation", { rope_interleaved: true }, "rope_interleaved", UnsupportedModelError],
    ["layers without rotation", { no_rope_layers: [1, 1, 0] }, "no_rope_layers: [1,1,0]", UnsupportedModelError],
    ["clipped projections", { clip_qkv: 8 }, "clip_qkv: 8", UnsupportedModelError],
    ["a soft cap on attention", { attn_logit_softcapping: 50 }, "attn_logit_softcapping", UnsupportedModelError],
    ["another scale of attention", { attention_multiplier: 0.1 }, "attention_multiplier", UnsupportedModelError],
    ["chunked attention", { attention_chunk_size: 8192 }, "attention_chunk_size", UnsupportedModelError],
    ["scaled embeddings", { embedding_multiplier: 12 }, "embedding_multiplier: 12", UnsupportedModelError],
    ["scaled residuals", { residual_multiplier: 0.2 }, "residual_multiplier: 0.2", UnsupportedModelError],
    ["experts", { num_local_experts: 8 }, "num_local_experts: 8", UnsupportedModelError],
    ["ALiBi", { alibi: true }, "alibi", UnsupportedModelError],
    [
      "another kind of positions",
      { position_embedding_type: "absolute" },
      "position_embedding_type",
      UnsupportedModelError,
    ],
  ])("is refused with %s", (_rule, changes, message, kind) => {
    const refused = { ...config, ...changes };
    const run = () => describeModel(refused, tensorsOf(config));
    expect(run).toThrow(kind);
    expect(run).toThrow(message);
  });

  test("is described alike whether neutral settings are written down or not", () => {
    const neutral = {
      clip_qkv: null,
      alibi: false,
      embedding_multiplier: 1,
      partial_rotary_factor: 1.0,
      layer_types: null,
    };
    expect(describeWith({ ...config, ...neutral })).toEqual(describeWith(config));
  });
});

function resize(tensors: Tensors, name: string, shape: number[]): void {
  tensors.set(name, { shape, dtype: "BF16", file: "model.safetensors" });
}

function retype(tensors: Tensors, name: string, dtype: string): void {
  tensors.set(name, { shape: tensors.get(name)?.shape ?? [], dtype, file: "model.safetensors" });
}

test.each<[string, Json, string, typeof CheckpointError | typeof UnsupportedModelError]>([
  [
    "an unknown model_type",
    { model_type: "lama" },
    'model_type "lama" is not supported. Did you mean "llama"?',
    UnsupportedModelError,
  ],
  [
    "a model_type named like a method of objects",
    { model_type: "constructor" },
    'model_type "constructor"',
    UnsupportedModelError,
  ],
  ["no model_type", {}, "model_type: expected a string, found nothing", CheckpointError],
])("%s is refused", (_rule, config, message, kind) => {
  const run = () => describeModel({ ...SMALL, ...config }, tensorsOf(configOf("llama")));
  expect(run).toThrow(kind);
  expect(run).toThrow(message);
});

describe("a key that nobody understood", () => {
  const config = configOf("llama", { layer_scale: 2, deep: { a: 1, b: null } });
  const tensors = tensorsOf(config);

  test("is accepted where the user says that it changes nothing, with what is in it", () => {
    const options = { assumeHarmless: ["layer_scale", "deep"] };
    expect(describeModel(config, tensors, options)).toEqual(describeModel(configOf("llama"), tensors));
  });

  test("is refused where the user says that of another", () => {
    const run = () => describeModel({ ...config, layer: null }, tensors, { assumeHarmless: ["deep", "layer"] });
    expect(run).toThrow("layer_scale: 2 is not understood");
  });

  test("is found within an object that was read", () => {
    const rope = { rope_parameters: { rope_type: "default", rope_theta: 10000, mrope_section: [1, 1, 2] } };
    const run = (assumeHarmless: string[]) => describeModel(configOf("llama", rope), tensors, { assumeHarmless });
    expect(() => run([])).toThrow("rope_parameters.mrope_section: [1,1,2] is not understood");
    expect(run(["rope_parameters.mrope_section"])).toEqual(describeModel(configOf("llama"), tensors));
  });

  test.each([[null], [false], [""], [[]], [{}]])("may be %j, which says nothing", (value) => {
    expect(() => describeModel(configOf("llama", { layer_scale: value }), tensors)).not.toThrow();
  });
});

describe("a quantization_config over weights of 16 bits", () => {
  const describeBlock = (block: Json) => describeWith(configOf("llama", { quantization_config: block }));

  test.each<[string, Json]>([
    [
      "compressed-tensors without groups",
      { quant_method: "compressed-tensors", config_groups: {}, kv_cache_scheme: {} },
    ],
    ["modelopt without weights", { quant_method: "modelopt", quant_algo: null, kv_cache_quant_algo: "FP8" }],
  ])("may tell of the KV cache: %s", (_rule, block) => {
    expect(describeBlock(block)).toEqual(describeWith(configOf("llama")));
  });

  test.each<[string, Json]>([
    ["fp8", { quant_method: "fp8", activation_scheme: "dynamic" }],
    ["compressed-tensors with groups", { quant_method: "compressed-tensors", config_groups: { a: { b: 1 } } }],
    ["modelopt with weights", { quant_method: "modelopt", quant_algo: "FP8" }],
    ["no method", { bits: 4 }],
  ])("is refused where it tells of weights: %s", (_rule, block) => {
    expect(() => describeBlock(block)).toThrow(UnsupportedModelError);
    expect(() => describeBlock(block)).toThrow("quantization_config");
  });

  test("is accepted where the user says that it changes nothing", () => {
    const config = configOf("llama", { quantization_config: { quant_method: "fp8" } });
    expect(() => describeModel(config, tensorsOf(config), { assumeHarmless: ["quantization_config"] })).not.toThrow();
  });
});

test("packed weights are refused by the name of their method", () => {
  const config = configOf("llama", { quantization_config: { quant_method: "aqlm" } });
  expect(() => describeWith(config, (t) => resize(t, "model.layers.0.mlp.up_proj.qweight", [1]))).toThrow("gptq");
});

describe("biases", () => {
  test.each<[string, string, Json, string[]]>([
    ["llama has none", "llama", {}, []],
    [
      "llama with attention_bias has q, k, v and o",
      "llama",
      { attention_bias: true },
      ["query", "key", "value", "output"],
    ],
    ["llama with mlp_bias has gate, up and down", "llama", { mlp_bias: true }, ["gate", "up", "down"]],
    ["mistral has none, whatever config.json says", "mistral", { attention_bias: true, mlp_bias: true }, []],
    ["qwen2 has q, k and v, whatever config.json says", "qwen2", { attention_bias: false }, ["query", "key", "value"]],
    ["qwen3 has none", "qwen3", {}, []],
    [
      "qwen3 with attention_bias has q, k, v and o",
      "qwen3",
      { attention_bias: true },
      ["query", "key", "value", "output"],
    ],
  ])("%s", (_rule, modelType, changes, expected) => {
    const config = configOf(modelType, changes);
    const tensors: TensorShapes = { keys: () => tensorsOf(config).keys(), get: (name) => shapeOfAny(config, name) };
    const [layer] = describeModel(config, tensors).layers;
    const { query, key, value, output } = attentionOfLayer(layer);
    const { gate, up, down } = feedForwardOfLayer(layer);
    const biased = Object.entries({ query, key, value, output, gate, up, down }).filter(([, linear]) => linear?.bias);
    expect(biased.map(([name]) => name)).toEqual(expected);
  });
});

/** Biases in the shape that the weight calls for, whether the family's list has them or not. */
function shapeOfAny(config: Json, name: string) {
  const tensors = tensorsOf(config);
  const weight = tensors.get(name.replace(/\.bias$/, ".weight"));
  const bias = { shape: weight?.shape.slice(0, 1) ?? [], dtype: "BF16", file: "model.safetensors" };
  return tensors.get(name) ?? (name.endsWith(".bias") ? bias : undefined);
}

describe("sliding windows per layer", () => {
  const slidingFromTwo = ["full_attention", "full_attention", "sliding_attention"];
  const rows: readonly [string, string, Json, (number | undefined)[]][] = [
    ["llama has none, even with the key", "llama", { sliding_window: 16 }, [undefined, undefined, undefined]],
    ["mistral: the key", "mistral", { sliding_window: 16 }, [16, 16, 16]],
    ["mistral: 4096 when the key is absent", "mistral", {}, [4096, 4096, 4096]],
    ["mistral: none when it is null", "mistral", { sliding_window: null }, [undefined, undefined, undefined]],
    [
      "mistral: where layer_types says so, as transformers takes it for a ministral",
      "mistral",
      { sliding_window: 16, layer_types: slidingFromTwo },
      [undefined, undefined, 16],
    ],
    ...["qwen2", "qwen3"].flatMap((family): [string, string, Json, (number | undefined)[]][] => {
      const used = { use_sliding_window: true, sliding_window: 16 };
      return [
        [
          `${family}: none without use_sliding_window`,
          family,
          { sliding_window: 16, max_window_layers: 0 },
          [undefined, undefined, undefined],
        ],
        [`${family}: from max_window_layers on`, family, { ...used, max_window_layers: 1 }, [undefined, 16, 16]],
        [`${family}: everywhere when max_window_layers is 0`, family, { ...used, max_window_layers: 0 }, [16, 16, 16]],
        [`${family}: max_window_layers is 28 when absent`, family, used, [undefined, undefined, undefined]],
        [
          `${family}: 4096 when the key is absent`,
          family,
          { use_sliding_window: true, max_window_layers: 2 },
          [undefined, undefined, 4096],
        ],
        [
          `${family}: none when it is null`,
          family,
          { ...used, sliding_window: null, max_window_layers: 0 },
          [undefined, undefined, undefined],
        ],
        [
          `${family}: layer_types decides over max_window_layers`,
          family,
          { ...used, max_window_layers: 0, layer_types: slidingFromTwo },
          [undefined, undefined, 16],
        ],
      ];
    }),
  ];
  test.each(rows)("%s", (_rule, modelType, changes, expected) => {
    expect(
      describeWith(configOf(modelType, changes)).layers.map((layer) => attentionOfLayer(layer).slidingWindow),
    ).toEqual(expected);
  });

  test.each<[string, Json, string, typeof CheckpointError | typeof UnsupportedModelError]>([
    [
      "layer_types of another length",
      { layer_types: ["full_attention"] },
      "layer_types: expected 3 entries, one per layer, found 1",
      CheckpointError,
    ],
    [
      "a window in layer_types that use_sliding_window denies",
      { layer_types: slidingFromTwo },
      'layer 2 is "sliding_attention" with use_sliding_window false',
      UnsupportedModelError,
    ],
    [
      "a window that is no number",
      { use_sliding_window: true, sliding_window: "16" },
      "sliding_window: expected a positive integer",
      CheckpointError,
    ],
    [
      "use_sliding_window that is no boolean",
      { use_sliding_window: 1 },
      "use_sliding_window: expected true or false, found 1",
      CheckpointError,
    ],
  ])("of qwen are refused: %s", (_rule, changes, message, kind) => {
    const run = () => describeWith(configOf("qwen3", changes));
    expect(run).toThrow(kind);
    expect(run).toThrow(message);
  });
});

describe("sizes that config.json leaves out", () => {
  const bare = (modelType: string, changes: Json): Json => {
    const { head_dim: _, num_key_value_heads: __, ...sizes } = SMALL;
    return { model_type: modelType, ...sizes, ...changes };
  };
  /** Every tensor exists in the shape that is asked for: only the description is looked at. */
  const sizesOf = (config: Json) => {
    const anyShape = (name: string) => ({ shape: wanted.get(name) ?? [], dtype: "BF16", file: "f" });
    const wanted = new Map<string, number[]>();
    const tensors: TensorShapes = { keys: () => ["model.layers.0.self_attn.k_proj.weight"], get: anyShape };
    const message = /tensor "(.+)": expected shape \[(.+)\] by/;
    for (;;) {
      try {
        const { heads, kvHeads, headDim } = attentionOfLayer(describeModel(config, tensors).layers[0]);
        return { heads, kvHeads, headDim };
      } catch (error) {
        const [, name = "", shape = ""] = message.exec(String(error)) ?? [];
        if (name === "" || wanted.has(name)) throw error;
        wanted.set(name, shape.split(", ").map(Number));
      }
    }
  };

  test.each<[string, Json, object]>([
    ["llama: as many KV heads as heads", bare("llama", {}), { heads: 4, kvHeads: 4, headDim: 8 }],
    ["llama: head_dim is hidden size / heads", bare("llama", { hidden_size: 64 }), { headDim: 16 }],
    [
      "mistral: 8 KV heads when the key is absent",
      bare("mistral", { num_attention_heads: 16 }),
      { kvHeads: 8, headDim: 2 },
    ],
    ["mistral: as many as heads when it is null", bare("mistral", { num_key_value_heads: null }), { kvHeads: 4 }],
    [
      "qwen2: 32 KV heads when the key is absent",
      bare("qwen2", { hidden_size: 128, num_attention_heads: 64 }),
      { kvHeads: 32, headDim: 2 },
    ],
    [
      "qwen3: head_dim 128 when the key is absent",
      bare("qwen3", { num_key_value_heads: 2 }),
      { kvHeads: 2, headDim: 128 },
    ],
  ])("%s", (_rule, config, expected) => {
    expect(sizesOf(config)).toMatchObject(expected);
  });
});
