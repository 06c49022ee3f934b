// Every supported architecture by the `model_type` of config.json, and the way from a checkpoint to its description.
// Refuses what it does not know; never guesses.

import { counted } from "../counted.js";
import { UnsupportedModelError, UsageError } from "../errors.js";
import { cacheSites } from "./cache-sites.js";
import { checkEnd, checkTensors, refuseQuantizedWeights, type TensorShapes } from "./check-tensors.js";
import type { Decoder, ModelEnd } from "./description.js";
import { describeAfmoe } from "./families/afmoe.js";
import { APERTUS_NAMES, describeApertus } from "./families/apertus.js";
import { describeArcee } from "./families/arcee.js";
import { describeAria } from "./families/aria.js";
import { describeBamba } from "./families/bamba.js";
import { describeCohere } from "./families/cohere.js";
import { describeCohere2 } from "./families/cohere2.js";
import { describeCohere2Moe } from "./families/cohere2-moe.js";
import { describeCwm } from "./families/cwm.js";
import { DBRX_NAMES, describeDbrx } from "./families/dbrx.js";
import { describeDots1 } from "./families/dots1.js";
import { describeErnie45, describePaddleOcrVl } from "./families/ernie4-5.js";
import { describeErnie45Moe } from "./families/ernie4-5-moe.js";
import { describeErnie45VlMoe } from "./families/ernie4-5-vl-moe.js";
import { describeExaoneMoe } from "./families/exaone-moe.js";
import { describeExaone4 } from "./families/exaone4.js";
import { describeFalcon, FALCON_NAMES } from "./families/falcon.js";
import { describeFalconH1 } from "./families/falcon-h1.js";
import { describeFlexOlmo } from "./families/flex-olmo.js";
import { describeGemma } from "./families/gemma.js";
import { describeGemma2, describeVaultGemma } from "./families/gemma2.js";
import { describeGemma3 } from "./families/gemma3.js";
import { describeGemma3n } from "./families/gemma3n.js";
import { describeGemma4 } from "./families/gemma4.js";
import { describeGlm, describeGlm4, describeGlm4v, describeGlmOcr } from "./families/glm.js";
import { describeGlm4Moe, describeGlm4vMoe } from "./families/glm4-moe.js";
import { describeGptNeoX, GPT_NEOX_NAMES } from "./families/gpt-neox.js";
import { describeGptOss } from "./families/gpt-oss.js";
import { describeGpt2, describeGptBigCode } from "./families/gpt2.js";
import { describeGptJ, GPTJ_NAMES } from "./families/gptj.js";
import { describeGranite } from "./families/granite.js";
import { describeGraniteMoe, describeGraniteMoeShared, describeGraniteMoeSwa } from "./families/granite-moe.js";
import { describeGraniteMoeHybrid } from "./families/granite-moe-hybrid.js";
import { describeGraniteSwa } from "./families/granite-swa.js";
import { describeHelium } from "./families/helium.js";
import { describeHunyuanV1Dense, describeHunyuanVl, HUNYUAN_NAMES } from "./families/hunyuan-v1-dense.js";
import { describeHunyuanV1Moe } from "./families/hunyuan-v1-moe.js";
import { describeHyV3 } from "./families/hy-v3.js";
import { describeHyperClovaX } from "./families/hyperclovax.js";
import { describeInternLm3 } from "./families/internlm3.js";
import { describeIQuestCoder } from "./families/iquestcoder.js";
import { describeJais2 } from "./families/jais2.js";
import { describeJamba } from "./families/jamba.js";
import { describeLaguna } from "./families/laguna.js";
import { describeLfm2, LFM2_NAMES } from "./families/lfm2.js";
import { describeLfm2Moe } from "./families/lfm2-moe.js";
import { describeLlama } from "./families/llama.js";
import { describeLlama4Text, LLAMA4_NAMES } from "./families/llama4-text.js";
import { describeMellum } from "./families/mellum.js";
import { describeMimoV2Flash } from "./families/mimo-v2-flash.js";
import { describeMiniMaxM2 } from "./families/minimax-m2.js";
import { describeMinistral3 } from "./families/ministral3.js";
import { describeMistral } from "./families/mistral.js";
import { describeMixtral } from "./families/mixtral.js";
import { describeNemotron } from "./families/nemotron.js";
import { describeNemotronH, NEMOTRON_H_NAMES } from "./families/nemotron-h.js";
import { describeOlmo } from "./families/olmo.js";
import { describeOlmoHybrid, OLMO_HYBRID_NAMES } from "./families/olmo-hybrid.js";
import { describeOlmo2 } from "./families/olmo2.js";
import { describeOlmo3 } from "./families/olmo3.js";
import { describeOlmoe } from "./families/olmoe.js";
import { describeOpt, OPT_NAMES } from "./families/opt.js";
import { describePhi, PHI_NAMES } from "./families/phi.js";
import { describePhi3, PHI3_NAMES } from "./families/phi3.js";
import { describePhimoe } from "./families/phimoe.js";
import { describeQwen2, describeQwen2Vl } from "./families/qwen2.js";
import { describeQwen2Moe } from "./families/qwen2-moe.js";
import { describeQwen3, describeQwen3Vl } from "./families/qwen3.js";
import { describeQwen35Moe, describeQwen35Text } from "./families/qwen3-5.js";
import { describeQwen3Moe, describeQwen3OmniMoe, describeQwen3VlMoe } from "./families/qwen3-moe.js";
import { describeQwen3Next } from "./families/qwen3-next.js";
import { describeSeedOss } from "./families/seed-oss.js";
import { describeSmolLm3 } from "./families/smollm3.js";
import { describeStableLm, STABLELM_NAMES } from "./families/stablelm.js";
import { describeStarcoder2, STARCODER2_NAMES } from "./families/starcoder2.js";
import { whyHarmless } from "./harmless-keys.js";
import { type LeftOverKey, ModelConfig, shortJson } from "./model-config.js";
import type { FamilyInput } from "./parts.js";
import type { Quantization } from "./quantization/quantization.js";
import { namesOfWeights, withQuantizedWeights } from "./quantization/quantized-decoder.js";
import { hasQuantizationConfig, readModelOptFile, readQuantization } from "./quantization/read-quantization.js";
import {
  findPrefix,
  GPT_NAMES,
  HYBRID_NAMES,
  JAMBA_NAMES,
  LLAMA_NAMES,
  type NameTable,
  TensorNames,
} from "./tensor-names.js";
import { refuseModelType } from "./unsupported.js";
import { tensorSource } from "./weight-source.js";
import { whyHarmlessAround } from "./wrapper-keys.js";
import { decoderConfigOf, WRAPPERS, wrapperOf } from "./wrappers.js";

interface Family {
  /** Names of its checkpoints that people know, and exceptions. */
  readonly covers: string;
  readonly describe: (input: FamilyInput) => Decoder;
  /** Tensor names; absent: Llama's. */
  readonly names?: NameTable;
}

/** By model_type. Equal ones have a line each. */
export const ARCHITECTURES: Readonly<Record<string, Family>> = {
  llama: {
    covers: "Llama 1–3, SmolLM2, Yi, Vicuna, TinyLlama, DeepSeek-R1-Distill-Llama and what saves itself as Llama",
    describe: describeLlama,
  },
  mistral: { covers: "Mistral 7B, Mistral Nemo, Mistral Small 3, Zephyr", describe: describeMistral },
  qwen2: { covers: "Qwen1.5, Qwen2, Qwen2.5, QwQ, DeepSeek-R1-Distill-Qwen", describe: describeQwen2 },
  qwen3: { covers: "Qwen3 (dense)", describe: describeQwen3 },

  arcee: { covers: "Arcee AFM-4.5B", describe: describeArcee },
  cohere: { covers: "Command R, Aya 23", describe: describeCohere },
  cwm: { covers: "Code World Model (CWM)", describe: describeCwm },
  gemma: { covers: "Gemma 1, CodeGemma", describe: describeGemma },
  gemma2: { covers: "Gemma 2", describe: describeGemma2 },
  gemma3_text: { covers: "Gemma 3 (text): 270M, 1B", describe: describeGemma3 },
  gemma3n_text: { covers: "Gemma 3n (text)", describe: describeGemma3n },
  gemma4_text: { covers: "Gemma 4 (text)", describe: describeGemma4 },
  granite: { covers: "Granite 3 (dense)", describe: describeGranite },
  olmo2: { covers: "OLMo 2", describe: describeOlmo2 },
  phi3: { covers: "Phi-3, Phi-3.5-mini, Phi-4, Phi-4-mini", describe: describePhi3, names: PHI3_NAMES },
  starcoder2: { covers: "StarCoder2", describe: describeStarcoder2, names: STARCODER2_NAMES },
  vaultgemma: { covers: "VaultGemma", describe: describeVaultGemma },

  seed_oss: { covers: "Seed-OSS", describe: describeSeedOss },
  smollm3: { covers: "SmolLM3", describe: describeSmolLm3 },
  olmo: { covers: "OLMo 1", describe: describeOlmo },
  olmo3: { covers: "OLMo 3, OLMo 3.1", describe: describeOlmo3 },
  exaone4: { covers: "EXAONE 4.0", describe: describeExaone4 },
  glm: { covers: "GLM-4-9B (chat-hf)", describe: describeGlm },
  glm4: { covers: "GLM-4-0414, GLM-Z1", describe: describeGlm4 },
  cohere2: { covers: "Command R7B, Command A", describe: describeCohere2 },
  hunyuan_v1_dense: { covers: "Hunyuan (dense), Hunyuan-MT", describe: describeHunyuanV1Dense, names: HUNYUAN_NAMES },
  ministral3: { covers: "Ministral 3, Devstral 2 (text part)", describe: describeMinistral3 },
  granite_swa: { covers: "Granite with sliding windows (dense)", describe: describeGraniteSwa },
  hyperclovax: { covers: "HyperCLOVA X", describe: describeHyperClovaX },
  ernie4_5: { covers: "ERNIE 4.5 (dense)", describe: describeErnie45 },
  apertus: { covers: "Apertus", describe: describeApertus, names: APERTUS_NAMES },
  phi: { covers: "Phi-1, Phi-1.5, Phi-2", describe: describePhi, names: PHI_NAMES },
  stablelm: { covers: "StableLM 3B, StableLM 2", describe: describeStableLm, names: STABLELM_NAMES },
  nemotron: { covers: "Nemotron-4, Minitron", describe: describeNemotron },
  jais2: { covers: "Jais 2", describe: describeJais2 },
  helium: { covers: "Helium 1", describe: describeHelium },
  gpt_neox: { covers: "GPT-NeoX-20B, Pythia, RedPajama-INCITE", describe: describeGptNeoX, names: GPT_NEOX_NAMES },
  gptj: { covers: "GPT-J", describe: describeGptJ, names: GPTJ_NAMES },
  falcon: { covers: "Falcon 7B, 40B, 180B, Falcon 2 (without ALiBi)", describe: describeFalcon, names: FALCON_NAMES },
  gpt2: { covers: "GPT-2", describe: describeGpt2, names: GPT_NAMES },
  gpt_bigcode: { covers: "StarCoder, SantaCoder", describe: describeGptBigCode, names: GPT_NAMES },
  opt: { covers: "OPT", describe: describeOpt, names: OPT_NAMES },
  ministral: { covers: "Ministral with windows in some layers", describe: describeMistral },
  internlm3: { covers: "InternLM 3", describe: describeInternLm3 },
  iquestcoder: { covers: "IQuest-Coder V1 (without loops)", describe: describeIQuestCoder },

  qwen3_moe: { covers: "Qwen3 (mixture of experts), Qwen3-Coder", describe: describeQwen3Moe },
  mixtral: { covers: "Mixtral", describe: describeMixtral },
  qwen2_moe: { covers: "Qwen1.5-MoE, Qwen2-57B-A14B", describe: describeQwen2Moe },
  olmoe: { covers: "OLMoE", describe: describeOlmoe },
  flex_olmo: { covers: "FlexOlmo", describe: describeFlexOlmo },
  granitemoe: { covers: "Granite 3 (mixture of experts)", describe: describeGraniteMoe },
  granitemoeshared: { covers: "Granite mixture of experts with a shared expert", describe: describeGraniteMoeShared },
  granitemoe_swa: { covers: "Granite mixture of experts with sliding windows", describe: describeGraniteMoeSwa },
  glm4_moe: { covers: "GLM-4.5, GLM-4.6, GLM-4.7", describe: describeGlm4Moe },
  dots1: { covers: "dots.llm1", describe: describeDots1 },
  exaone_moe: { covers: "K-EXAONE", describe: describeExaoneMoe },
  minimax_m2: { covers: "MiniMax-M2", describe: describeMiniMaxM2 },
  ernie4_5_moe: { covers: "ERNIE 4.5 (mixture of experts)", describe: describeErnie45Moe },
  hunyuan_v1_moe: { covers: "Hunyuan-A13B", describe: describeHunyuanV1Moe, names: HUNYUAN_NAMES },
  mellum: { covers: "Mellum 2", describe: describeMellum },

  afmoe: { covers: "Trinity", describe: describeAfmoe },
  laguna: { covers: "Laguna", describe: describeLaguna },
  hy_v3: { covers: "Hunyuan 3", describe: describeHyV3 },
  cohere2_moe: { covers: "Command A (mixture of experts)", describe: describeCohere2Moe },
  mimo_v2_flash: { covers: "MiMo V2 Flash", describe: describeMimoV2Flash },
  phimoe: { covers: "Phi-3.5-MoE, Phi-mini-MoE", describe: describePhimoe },
  dbrx: { covers: "DBRX", describe: describeDbrx, names: DBRX_NAMES },
  llama4_text: { covers: "Llama 4 (text decoder alone)", describe: describeLlama4Text, names: LLAMA4_NAMES },
  gpt_oss: { covers: "GPT-OSS, in MXFP4 and in 16 bits", describe: describeGptOss },

  qwen3_next: { covers: "Qwen3-Next, Qwen3-Coder-Next", describe: describeQwen3Next, names: HYBRID_NAMES },
  qwen3_5_text: { covers: "Qwen3.5, 3.6, 3.8 (text, dense)", describe: describeQwen35Text, names: HYBRID_NAMES },
  qwen3_5_moe_text: {
    covers: "Qwen3.5, 3.6, 3.8 (text, mixture of experts)",
    describe: describeQwen35Moe,
    names: HYBRID_NAMES,
  },
  olmo_hybrid: { covers: "OLMo Hybrid", describe: describeOlmoHybrid, names: OLMO_HYBRID_NAMES },
  lfm2: { covers: "LFM2, LFM2.5 (dense)", describe: describeLfm2, names: LFM2_NAMES },
  lfm2_moe: { covers: "LFM2, LFM2.5 (mixture of experts)", describe: describeLfm2Moe, names: LFM2_NAMES },
  nemotron_h: {
    covers: "Nemotron-H, Nemotron Nano 2, Nemotron-3",
    describe: describeNemotronH,
    names: NEMOTRON_H_NAMES,
  },
  granitemoehybrid: { covers: "Granite 4", describe: describeGraniteMoeHybrid, names: HYBRID_NAMES },
  falcon_h1: { covers: "Falcon-H1", describe: describeFalconH1, names: JAMBA_NAMES },
  bamba: { covers: "Bamba", describe: describeBamba, names: JAMBA_NAMES },
  jamba: { covers: "Jamba", describe: describeJamba, names: JAMBA_NAMES },
};

/** Decoders that are only parts of multimodal models, by the model_type in their part of config.json. */
export const INNER_ARCHITECTURES: Readonly<Record<string, Family>> = {
  qwen2_vl_text: { covers: "Qwen2-VL (text)", describe: describeQwen2Vl },
  qwen2_5_vl_text: { covers: "Qwen2.5-VL (text)", describe: describeQwen2Vl },
  qwen2_5_omni_text: { covers: "Qwen2.5-Omni (text)", describe: describeQwen2Vl },
  qwen3_vl_text: { covers: "Qwen3-VL (text, dense)", describe: describeQwen3Vl },
  qwen3_vl_moe_text: { covers: "Qwen3-VL (text, mixture of experts)", describe: describeQwen3VlMoe },
  qwen3_omni_moe_text: { covers: "Qwen3-Omni (text)", describe: describeQwen3OmniMoe },
  glm4v_text: { covers: "GLM-4.1V, GLM-4.6V (text)", describe: describeGlm4v },
  glm_ocr_text: { covers: "GLM-OCR (text)", describe: describeGlmOcr },
  glm4v_moe_text: { covers: "GLM-4.5V (text)", describe: describeGlm4vMoe },
  paddleocr_vl_text: { covers: "PaddleOCR-VL (text)", describe: describePaddleOcrVl },
  hunyuan_vl_text: { covers: "HunyuanOCR (text)", describe: describeHunyuanVl, names: HUNYUAN_NAMES },
  granite4_vision_text: { covers: "Granite 4 Vision (text)", describe: describeGranite },
  granite_docling_text: { covers: "Granite for Docling (text)", describe: describeGranite },
  ernie4_5_vl_moe_text: { covers: "ERNIE 4.5 VL (text)", describe: describeErnie45VlMoe },
  aria_text: { covers: "Aria (text)", describe: describeAria },
  gemma4_unified_text: { covers: "Gemma 4 12B (unified, text)", describe: describeGemma4 },
};

export interface DescribeOptions {
  /** The `quantization` of ModelOpt's hf_quant_config.json, which counts where config.json has no quantization_config. */
  readonly modelOpt?: Readonly<Record<string, unknown>> | undefined;
  /** Keys of config.json that the user says change nothing, with dots for nested objects. */
  readonly assumeHarmless?: readonly string[] | undefined;
}

/**
 * Describes the decoder of a checkpoint and checks that every tensor it needs is there, in the right shape, and that no
 * layer has a tensor that the description does not use.
 * @throws UnsupportedModelError for an architecture, a setting or a dtype that is not supported, and for a key of
 * config.json that is not understood
 * @throws UsageError for a key to assume harmless that config.json does not have
 * @throws CheckpointError for missing tensors and wrong shapes
 */
export function describeModel(
  configJson: Readonly<Record<string, unknown>>,
  tensors: TensorShapes,
  { assumeHarmless = [], modelOpt }: DescribeOptions = {},
): Decoder {
  requireKeysOfConfig(assumeHarmless, configJson);
  const whole = new ModelConfig(configJson);
  const { config, path } = decoderConfigOf(whole);
  const family = familyOf(config);
  const names = namesOf(family, namesOfWeights(tensors.keys()), (name) => tensors.get(name) !== undefined);
  const shapeOf = (tensor: string) => tensors.get(tensor)?.shape;
  const described = describeFamily({ whole, config, path, family, names, shapeOf, assumeHarmless, modelOpt });
  const { quantization } = described;
  const decoder = withHeadOfWrapper(described.decoder, whole, names, tensors);
  if (quantization === undefined) refuseQuantizedWeights(whole, tensors);
  const stored = quantization === undefined ? decoder : withQuantizedWeights(decoder, quantization, tensors);
  checkTensors(stored, tensors, names.layers);
  return stored;
}

/**
 * Describes a decoder from config.json alone, without checking tensors.
 * @returns the decoder, with the prefix `model.`, and the keys that were read for it
 * @throws UnsupportedModelError as describeModel
 */
export function describeConfig(
  configJson: Readonly<Record<string, unknown>>,
  { assumeHarmless = [] }: DescribeOptions = {},
): { readonly decoder: Decoder; readonly readPaths: readonly string[] } {
  requireKeysOfConfig(assumeHarmless, configJson);
  const whole = new ModelConfig(configJson);
  const { config, path } = decoderConfigOf(whole);
  const family = familyOf(config);
  const names = namesOf(family, [`model.${(family.names ?? LLAMA_NAMES).anchor}`]);
  const { decoder } = describeFamily({ whole, config, path, family, names, assumeHarmless });
  return { decoder, readPaths: whole.readPaths() };
}

function familyOf(config: ModelConfig): Family {
  const modelType = config.string("model_type");
  const table = Object.hasOwn(INNER_ARCHITECTURES, modelType) ? INNER_ARCHITECTURES : ARCHITECTURES;
  const family = Object.hasOwn(table, modelType) ? table[modelType] : undefined;
  return family ?? refuseModelType(modelType, [...Object.keys(ARCHITECTURES), ...Object.keys(WRAPPERS)]);
}

function namesOf(
  { names = LLAMA_NAMES }: Family,
  tensorNames: Iterable<string>,
  isThere?: (name: string) => boolean,
): TensorNames {
  return new TensorNames(names, findPrefix(names, tensorNames), isThere);
}

interface FamilyConfig extends FamilyInput {
  /** The whole config.json; `config` may be a part of it, at `path`. */
  readonly whole: ModelConfig;
  readonly path: string | undefined;
  readonly family: Family;
  readonly assumeHarmless: readonly string[];
  readonly modelOpt?: DescribeOptions["modelOpt"];
}

interface Description {
  readonly decoder: Decoder;
  /** Absent: weights are numbers. */
  readonly quantization: Quantization | undefined;
}

function describeFamily({ whole, path, family, assumeHarmless, modelOpt, ...input }: FamilyConfig): Description {
  const configs = [...new Set([whole, input.config])];
  const holders = configs.filter((each) => !assumeHarmless.includes(each.pathOf("quantization_config")));
  const [inConfig] = holders.flatMap((holder) => readQuantization(holder) ?? []);
  const quantization =
    inConfig ?? (configs.some(hasQuantizationConfig) ? undefined : modelOpt && readModelOptFile(modelOpt));
  const decoder = countedFrom(wrapperOf(whole.peek("model_type"))?.firstPosition, family.describe(input));
  for (const each of configs) refuseBidirectional(each, assumeHarmless);
  const leftOver = whole.leftOver().filter((key) => !isHarmlessAround(key, whole, path));
  refuseLeftOver(leftOver, decoder.modelType, assumeHarmless);
  refuseWithoutCaches(decoder);
  return { decoder, quantization };
}

function refuseWithoutCaches(decoder: Decoder): void {
  if (cacheSites(decoder).length > 0) return;
  throw new UnsupportedModelError(
    `config.json: none of the ${counted(decoder.layers.length, "layer")} has attention, so there is no KV cache and nothing to scale`,
  );
}

/** The same decoder with another position of the first token. */
function countedFrom(first: number | undefined, decoder: Decoder): Decoder {
  return first === undefined ? decoder : { ...decoder, ropes: decoder.ropes.map((rope) => ({ ...rope, first })) };
}

function isHarmlessAround(key: LeftOverKey, whole: ModelConfig, decoderPath: string | undefined): boolean {
  if (wrapperOf(whole.peek("model_type")) === undefined) return false;
  return whyHarmlessAround(key.path, decoderPath) !== undefined;
}

/**
 * The output head of a multimodal model: its own if the checkpoint has one, as transformers loads it, whatever config.json
 * says of tied weights in the one place or the other.
 */
function withHeadOfWrapper(decoder: Decoder, whole: ModelConfig, names: TensorNames, tensors: TensorShapes): Decoder {
  if (wrapperOf(whole.peek("model_type")) === undefined) return decoder;
  const own = `${names.head}.weight`;
  const isTied = tensors.get(own) === undefined && whole.boolean("tie_word_embeddings", false);
  const name = tensors.get(own) !== undefined ? own : isTied ? decoder.embedding.weight : undefined;
  if (name === undefined) return decoder;
  const head = tensorSource(name, [decoder.vocabularySize, decoder.hiddenSize]);
  return { ...decoder, end: { ...decoder.end, head } };
}

/** The only key whose `false` matters in every family and which no family reads. */
function refuseBidirectional(config: ModelConfig, assumed: readonly string[]): void {
  const path = config.pathOf("is_causal");
  if (assumed.includes(path) || config.boolean("is_causal", true)) return;
  throw new UnsupportedModelError(
    `config.json: ${path}: false is not understood: tokens would attend to later ones, which changes K and V. If the checkpoint is served with causal attention, accept it with --assume-harmless ${path}.`,
  );
}

/** A misspelled key would be recorded as accepted without any effect. */
function requireKeysOfConfig(keys: readonly string[], configJson: Readonly<Record<string, unknown>>): void {
  const missing = keys.find((key) => !hasPath(configJson, key));
  if (missing === undefined) return;
  throw new UsageError(
    `--assume-harmless: config.json has no key ${JSON.stringify(missing)}. Name keys as config.json spells them, with dots where objects are nested, such as rope_scaling.factor.`,
  );
}

/** Keys may contain dots. */
function hasPath(value: unknown, path: string): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Object.hasOwn(value, path)) return true;
  return Object.entries(value).some(
    ([key, inner]) => path.startsWith(`${key}.`) && hasPath(inner, path.slice(key.length + 1)),
  );
}

function refuseLeftOver(keys: readonly LeftOverKey[], modelType: string, assumed: readonly string[]): void {
  const isAssumed = (path: string) => assumed.some((key) => path === key || path.startsWith(`${key}.`));
  const unknown = keys.find(({ path, value }) => !isAssumed(path) && whyHarmless(path, value) === undefined);
  if (unknown === undefined) return;
  const { path, value } = unknown;
  throw new UnsupportedModelError(
    `config.json: ${path}: ${shortJson(value)} is not understood for model_type "${modelType}", and it may change K or V. If you know that it changes nothing, accept it with --assume-harmless ${path}.`,
  );
}

/**
 * Describes the output head, which calibration does not need.
 * @throws UnsupportedModelError when the checkpoint has none; CheckpointError when its tensors have the wrong shape
 */
export function describeModelEnd(tensors: TensorShapes, decoder: Decoder): ModelEnd {
  checkEnd(decoder.end, decoder, tensors);
  return decoder.end;
}
