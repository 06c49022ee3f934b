// What engines do with scales by the kind of model and by ModelOpt's files, each row as it was measured or read.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ARCHITECTURES } from "../../src/architectures/registry.js";
import { UNSUPPORTED } from "../../src/architectures/unsupported.js";
import { WRAPPERS } from "../../src/architectures/wrappers.js";
import { DROPPED_BY_SGLANG, VLLM_FAMILIES } from "../../src/checkpoint/engine-families.js";
import type { EngineName } from "../../src/checkpoint/engine-names.js";
import { judgeScales } from "../../src/checkpoint/engine-rules.js";
import type { ScaleUse } from "../../src/checkpoint/engine-verdicts.js";
import { gatherScaleFacts, type ScaleFacts } from "../../src/checkpoint/scale-facts.js";
import { findScaleProblems } from "../../src/checkpoint/scale-problems.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { safetensorsOf, scale, temporaryFolder, weight } from "../helpers/safetensors-files.js";

const root = temporaryFolder();

const BLOCK = {
  quant_method: "compressed-tensors",
  quantization_status: "frozen",
  format: "dense",
  config_groups: {},
  ignore: ["Linear"],
  kv_cache_scheme: { num_bits: 8, type: "float", strategy: "tensor", dynamic: false, symmetric: true },
};

interface Given {
  readonly config?: Record<string, unknown>;
  /** hf_quant_config.json */
  readonly modelOpt?: unknown;
  /** Weights, and scales: those end in _scale. */
  readonly tensors: readonly string[];
}

async function factsOf({ config = {}, modelOpt, tensors }: Given): Promise<ScaleFacts> {
  const folder = join(root(), "checkpoint");
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  if (modelOpt !== undefined) writeFileSync(join(folder, "hf_quant_config.json"), JSON.stringify(modelOpt));
  const contents = tensors.map((name) => (name.endsWith("_scale") ? scale(name, 0.5) : weight(name, 1)));
  writeFileSync(join(folder, "model.safetensors"), safetensorsOf(contents));
  return gatherScaleFacts(await surveyCheckpoint(folder));
}

const LAYER = "model.layers.0.self_attn";
const LLAMA = [`${LAYER}.k_proj.weight`, `${LAYER}.k_scale`, `${LAYER}.v_scale`];
const MLA = [`${LAYER}.kv_a_proj_with_mqa.weight`, `${LAYER}.kv_b_proj.weight`, `${LAYER}.k_scale`, `${LAYER}.v_scale`];
const CONV = ["model.layers.0.conv.in_proj.weight", "model.layers.1.self_attn.k_proj.weight"];

function withBlock(modelType: string, more: object = {}): Record<string, unknown> {
  return { model_type: modelType, quantization_config: BLOCK, ...more };
}

const BY_MODEL_TYPE: readonly (readonly [EngineName, string, readonly string[], ScaleUse, string])[] = [
  ["vllm", "llama", LLAMA, "used", "reads k_scale and v_scale"],
  ["vllm", "qwen3_moe", LLAMA, "used", "reads k_scale and v_scale"],
  ["vllm", "lfm2", LLAMA, "refused", "lfm2 has no place for"],
  ["vllm", "lfm2_moe", LLAMA, "refused", "lfm2_moe has no place for"],
  ["vllm", "jamba", LLAMA, "refused", "jamba has no place for"],
  ["vllm", "deepseek_v2", MLA, "ignored", "its latent attention (MLA) loads no scale"],
  ["vllm", "deepseek_v3", MLA, "ignored", "an FP8 cache runs at 1.0"],
  ["vllm", "another_mla", MLA, "ignored", "its latent attention (MLA) loads no scale"],
  ["vllm", "minicpm3", MLA, "used", "reads k_scale and v_scale"],
  ["vllm", "not-yet-invented", LLAMA, "unknown", 'if it treats model_type "not-yet-invented" as it does most'],
  ["vllm", "llama", [...LLAMA, "model.layers.9.self_attn.k_scale"], "refused", "model.layers.9.self_attn.k_scale"],
  ["vllm", "gpt_oss", [...LLAMA, "model.layers.9.self_attn.k_scale"], "used", "reads k_scale and v_scale"],
  [
    "vllm",
    "gpt_oss",
    [...LLAMA.slice(0, 1), `${LAYER}.k_proj.output_scale`],
    "ignored",
    "finds no scale that it reads",
  ],
  ["sglang", "llama", LLAMA, "used", "reads k_scale and v_scale"],
  ["sglang", "qwen2", LLAMA, "ignored", "its loader of qwen2 drops them"],
  ["sglang", "qwen3_moe", LLAMA, "ignored", "its loader of qwen3_moe drops them"],
  ["sglang", "mixtral", LLAMA, "ignored", "its loader of mixtral drops them"],
  ["sglang", "lfm2", LLAMA, "ignored", "its loader of lfm2 drops them"],
  ["sglang", "qwen3", LLAMA, "used", "reads"],
  ["sglang", "deepseek_v3", MLA, "unknown", "not known here"],
  ["tgi", "deepseek_v3", MLA, "unknown", "not known here"],
  ["transformers", "deepseek_v3", MLA, "unknown", "not known here"],
];

describe("of a model_type", () => {
  test.each(BY_MODEL_TYPE)("%s, %s: %#", async (engine, modelType, tensors, use, why) => {
    const facts = await factsOf({ config: withBlock(modelType), tensors });
    expect(judgeScales(engine, facts)).toMatchObject({ use, why: expect.stringContaining(why) });
  });

  test("every one that is calibrated has a row, or its verdict of vLLM is open", () => {
    const open = [...Object.keys(ARCHITECTURES), ...Object.keys(WRAPPERS)].filter((name) => !VLLM_FAMILIES.has(name));
    expect(open).toEqual(OPEN);
  });

  test.each(MLA_MODELS)("vLLM ignores the scales of %s, whose caches hold latent vectors", async (modelType) => {
    const facts = await factsOf({ config: withBlock(modelType), tensors: MLA });
    const why = "its latent attention (MLA) loads no scale: an FP8 cache runs at 1.0";
    expect(judgeScales("vllm", facts)).toMatchObject({ use: "ignored", why });
  });

  test("both attentions of a layer of LongCat are known, and vLLM ignores the scales of both", async () => {
    const latent = ["q_b_proj.weight", "kv_a_proj_with_mqa.weight", "kv_b_proj.weight", "k_scale", "v_scale"];
    const tensors = [0, 1].flatMap((at) => latent.map((name) => `model.layers.0.self_attn.${at}.${name}`));
    const facts = await factsOf({ config: withBlock("longcat_flash", { num_layers: 1 }), tensors });
    expect([...facts.attentions.values()]).toEqual(["model.layers.0.self_attn.0", "model.layers.0.self_attn.1"]);
    expect(findScaleProblems(facts)).toEqual([]);
    const why = "its latent attention (MLA) loads no scale: an FP8 cache runs at 1.0";
    expect(judgeScales("vllm", facts)).toMatchObject({ use: "ignored", why });
  });

  test("SGLang's exceptions are model types that are calibrated", () => {
    for (const modelType of DROPPED_BY_SGLANG.keys()) expect(Object.keys(ARCHITECTURES)).toContain(modelType);
  });
});

/** Refused for their latent attention; of MiniCPM 3, vLLM caches K and V of every head. */
const MLA_MODELS = Object.entries(UNSUPPORTED)
  .filter(([, reason]) => /\(MLA\): the cache holds/.test(reason))
  .map(([modelType]) => modelType);

/** Calibrated here, with no class of their own in vLLM 0.32. */
const OPEN = [
  ...["helium", "ministral", "dots1", "bamba"],
  ...["qwen2_5_omni_thinker", "qwen3_omni_moe_thinker", "minicpm_ocr", "vipllava", "video_llava", "idefics2", "glm46v"],
  ...["hunyuan_vl", "aya_vision", "granite_docling", "hyperclovax_vision_v2", "musicflamingo", "vibevoice_asr"],
  ...["fun_asr_nano", "deepseek_vl", "deepseek_vl_hybrid", "janus", "fast_vlm", "got_ocr2", "ovis2", "perception_lm"],
  "video_llama_3",
];

/** The names that GPT-2 and its kin give their attention, and where vLLM 0.32 found the scales, tried with it. */
const GPT = "transformer.h.0.attn";
const BY_NAME: readonly (readonly [modelType: string, attention: string, scales: string, use: ScaleUse])[] = [
  ["gpt2", GPT, GPT, "refused"],
  ["gpt2", GPT, `${GPT}.attn`, "used"],
  ["gptj", GPT, GPT, "ignored"],
  ["gptj", GPT, `${GPT}.attn`, "used"],
  ["gpt_bigcode", GPT, GPT, "ignored"],
  ["gpt_bigcode", GPT, `${GPT}.attn`, "used"],
  ["gpt2", "h.0.attn", "h.0.attn", "refused"],
  ["gpt2", "h.0.attn", "h.0.attn.attn", "used"],
  ["gpt_neox", "gpt_neox.layers.0.attention", "gpt_neox.layers.0.attention", "used"],
  ["falcon", "transformer.h.0.self_attention", "transformer.h.0.self_attention", "used"],
  ["nemotron_h", "backbone.layers.0.mixer", "backbone.layers.0.mixer", "used"],
  ["dbrx", "transformer.blocks.0.norm_attn_norm.attn", "transformer.blocks.0.norm_attn_norm.attn", "used"],
  ["dbrx", "transformer.blocks.0.norm_attn_norm.attn", "transformer.blocks.0.norm_attn_norm.attn.attn", "used"],
];

test.each(BY_NAME)("vLLM, %s, attention %s, scales of %s: %s", async (modelType, attention, scales, use) => {
  const fused = attention.includes("norm_attn") ? "Wqkv" : attention.endsWith("attn") ? "c_attn" : "query_key_value";
  const key = attention.endsWith("mixer") ? "k_proj" : fused;
  const tensors = [`${attention}.${key}.weight`, `${scales}.k_scale`, `${scales}.v_scale`];
  const facts = await factsOf({ config: withBlock(modelType), tensors });
  expect(judgeScales("vllm", facts).use).toBe(use);
  expect(findScaleProblems(facts)).toEqual([]);
});

const MODELOPT = [`${LAYER}.k_proj.weight`, `${LAYER}.k_proj.k_scale`, `${LAYER}.v_proj.v_scale`];
const quantization = (more: object) => ({ producer: { name: "modelopt", version: "0.29.0" }, quantization: more });

const BY_FILE: readonly (readonly [string, Given, Partial<Record<EngineName, ScaleUse>>])[] = [
  [
    "hf_quant_config.json with FP8 weights and cache",
    { modelOpt: quantization({ quant_algo: "FP8", kv_cache_quant_algo: "FP8" }), tensors: MODELOPT },
    { vllm: "used", sglang: "used", trtllm: "used", transformers: "ignored", tgi: "ignored" },
  ],
  [
    "hf_quant_config.json with an FP8 cache alone",
    { modelOpt: quantization({ quant_algo: null, kv_cache_quant_algo: "FP8" }), tensors: MODELOPT },
    { vllm: "refused", trtllm: "unknown" },
  ],
  [
    "hf_quant_config.json without a cache",
    { modelOpt: quantization({ quant_algo: "FP8" }), tensors: MODELOPT },
    { vllm: "used", trtllm: "ignored" },
  ],
  [
    "hf_quant_config.json with an NVFP4 cache",
    { modelOpt: quantization({ quant_algo: "NVFP4", kv_cache_quant_algo: "NVFP4" }), tensors: MODELOPT },
    { trtllm: "unknown" },
  ],
  [
    "the same in config.json",
    { config: { quantization_config: { quant_method: "modelopt", quant_algo: "FP8" } }, tensors: MODELOPT },
    { vllm: "used", sglang: "used", trtllm: "unknown", transformers: "unknown" },
  ],
  [
    "ModelOpt's names in a compressed-tensors block",
    { config: { quantization_config: BLOCK }, tensors: MODELOPT },
    { vllm: "used", sglang: "used", trtllm: "ignored", transformers: "ignored" },
  ],
  [
    "names of compressed-tensors beside hf_quant_config.json",
    { modelOpt: quantization({ quant_algo: "FP8", kv_cache_quant_algo: "FP8" }), tensors: LLAMA },
    { vllm: "used", trtllm: "ignored" },
  ],
  [
    "a block in config.json, which counts before hf_quant_config.json",
    { config: { quantization_config: BLOCK }, modelOpt: quantization({ quant_algo: null }), tensors: LLAMA },
    { vllm: "used" },
  ],
  [
    "a block in the text part of a multimodal model",
    { config: { text_config: { quantization_config: BLOCK } }, tensors: LLAMA },
    { vllm: "used" },
  ],
];

test.each(BY_FILE)("%s", async (_, given, uses) => {
  const facts = await factsOf({ ...given, config: { model_type: "llama", ...given.config } });
  const found = Object.fromEntries(
    (Object.keys(uses) as EngineName[]).map((engine) => [engine, judgeScales(engine, facts).use]),
  );
  expect(found).toEqual(uses);
});

test("hf_quant_config.json that promises scales which are not there is a problem", async () => {
  const modelOpt = quantization({ quant_algo: "FP8", kv_cache_quant_algo: "FP8" });
  const facts = await factsOf({ config: { model_type: "llama" }, modelOpt, tensors: [`${LAYER}.k_proj.weight`] });
  expect(findScaleProblems(facts)).toEqual([
    {
      kind: "block-without-scales",
      message:
        "hf_quant_config.json promises scales (kv_cache_quant_algo), but no file has any: engines run an FP8 cache at 1.0.",
    },
  ]);
});

const ON_FNUZ: readonly (readonly [EngineName, Given, string | undefined])[] = [
  ["vllm", { config: withBlock("llama"), tensors: LLAMA }, "as-they-are"],
  ["sglang", { config: withBlock("llama"), tensors: LLAMA }, "doubled"],
  [
    "vllm",
    { config: { model_type: "llama" }, modelOpt: quantization({ quant_algo: "FP8" }), tensors: MODELOPT },
    "doubled",
  ],
  ["tgi", { config: withBlock("llama"), tensors: LLAMA }, undefined],
];

test.each(ON_FNUZ)("on AMD MI300 scales in %s: %#", async (engine, given, onFnuz) => {
  const verdict = judgeScales(engine, await factsOf(given));
  expect(verdict).toMatchObject({ use: "used" });
  expect(verdict.onFnuz).toBe(onFnuz);
});

describe("layers without a K/V cache are not called without a scale", () => {
  const scales = ["model.layers.1.self_attn.k_scale", "model.layers.1.self_attn.v_scale"];

  test("of a convolution", async () => {
    expect(
      findScaleProblems(await factsOf({ config: withBlock("qwen3_next"), tensors: [...CONV, ...scales] })),
    ).toEqual([]);
  });

  test("of linear attention that projects keys", async () => {
    const config = withBlock("kimi_linear", { linear_attn_config: { kda_layers: [1], full_attn_layers: [2] } });
    const tensors = [`${LAYER}.k_proj.weight`, "model.layers.1.self_attn.k_proj.weight", ...scales];
    expect(findScaleProblems(await factsOf({ config, tensors }))).toEqual([]);
  });

  test("that predict further tokens, whether they have scales or not", async () => {
    const config = withBlock("glm4_moe", { num_hidden_layers: 1 });
    const draft = "model.layers.1.self_attn.k_proj.weight";
    expect(findScaleProblems(await factsOf({ config, tensors: [...LLAMA, draft] }))).toEqual([]);
  });
});
