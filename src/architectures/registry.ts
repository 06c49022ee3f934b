// Every supported architecture by the `model_type` of config.json, and the way from a checkpoint to its description.
// Refuses what it does not know; never guesses.

import { UnsupportedModelError } from "../errors.js";
import { checkEnd, checkTensors, refuseQuantizedWeights, type TensorShapes } from "./check-tensors.js";
import type { Decoder, ModelEnd } from "./description.js";
import { describeAfmoe } from "./families/afmoe.js";
import { APERTUS_NAMES, describeApertus } from "./families/apertus.js";
import { describeArcee } from "./families/arcee.js";
import { describeCohere } from "./families/cohere.js";
import { describeCohere2 } from "./families/cohere2.js";
import { describeCohere2Moe } from "./families/cohere2-moe.js";
import { describeCwm } from "./families/cwm.js";
import { DBRX_NAMES, describeDbrx } from "./families/dbrx.js";
import { describeDots1 } from "./families/dots1.js";
import { describeErnie45 } from "./families/ernie4-5.js";
import { describeErnie45Moe } from "./families/ernie4-5-moe.js";
import { describeExaoneMoe } from "./families/exaone-moe.js";
import { describeExaone4 } from "./families/exaone4.js";
import { describeFalcon, FALCON_NAMES } from "./families/falcon.js";
import { describeFlexOlmo } from "./families/flex-olmo.js";
import { describeGemma } from "./families/gemma.js";
import { describeGemma2, describeVaultGemma } from "./families/gemma2.js";
import { describeGemma3 } from "./families/gemma3.js";
import { describeGemma3n } from "./families/gemma3n.js";
import { describeGemma4 } from "./families/gemma4.js";
import { describeGlm, describeGlm4 } from "./families/glm.js";
import { describeGlm4Moe } from "./families/glm4-moe.js";
import { describeGptNeoX, GPT_NEOX_NAMES } from "./families/gpt-neox.js";
import { describeGptOss } from "./families/gpt-oss.js";
import { describeGpt2, describeGptBigCode } from "./families/gpt2.js";
import { describeGptJ, GPTJ_NAMES } from "./families/gptj.js";
import { describeGranite } from "./families/granite.js";
import { describeGraniteMoe, describeGraniteMoeShared, describeGraniteMoeSwa } from "./families/granite-moe.js";
import { describeGraniteSwa } from "./families/granite-swa.js";
import { describeHelium } from "./families/helium.js";
import { describeHunyuanV1Dense, HUNYUAN_NAMES } from "./families/hunyuan-v1-dense.js";
import { describeHunyuanV1Moe } from "./families/hunyuan-v1-moe.js";
import { describeHyV3 } from "./families/hy-v3.js";
import { describeHyperClovaX } from "./families/hyperclovax.js";
import { describeJais2 } from "./families/jais2.js";
import { describeLaguna } from "./families/laguna.js";
import { describeLlama } from "./families/llama.js";
import { describeLlama4Text, LLAMA4_NAMES } from "./families/llama4-text.js";
import { describeMellum } from "./families/mellum.js";
import { describeMimoV2Flash } from "./families/mimo-v2-flash.js";
import { describeMiniMaxM2 } from "./families/minimax-m2.js";
import { describeMinistral3 } from "./families/ministral3.js";
import { describeMistral } from "./families/mistral.js";
import { describeMixtral } from "./families/mixtral.js";
import { describeNemotron } from "./families/nemotron.js";
import { describeOlmo } from "./families/olmo.js";
import { describeOlmo2 } from "./families/olmo2.js";
import { describeOlmo3 } from "./families/olmo3.js";
import { describeOlmoe } from "./families/olmoe.js";
import { describeOpt, OPT_NAMES } from "./families/opt.js";
import { describePhi, PHI_NAMES } from "./families/phi.js";
import { describePhi3, PHI3_NAMES } from "./families/phi3.js";
import { describePhimoe } from "./families/phimoe.js";
import { describeQwen2 } from "./families/qwen2.js";
import { describeQwen2Moe } from "./families/qwen2-moe.js";
import { describeQwen3 } from "./families/qwen3.js";
import { describeQwen3Moe } from "./families/qwen3-moe.js";
import { describeSeedOss } from "./families/seed-oss.js";
import { describeSmolLm3 } from "./families/smollm3.js";
import { describeStableLm, STABLELM_NAMES } from "./families/stablelm.js";
import { describeStarcoder2, STARCODER2_NAMES } from "./families/starcoder2.js";
import { whyHarmless } from "./harmless-keys.js";
import { type LeftOverKey, ModelConfig, shortJson } from "./model-config.js";
import type { FamilyInput } from "./parts.js";
import { readQuantization } from "./quantization.js";
import { findPrefix, GPT_NAMES, LLAMA_NAMES, type NameTable, TensorNames } from "./tensor-names.js";

interface Family {
  readonly describe: (input: FamilyInput) => Decoder;
  /** Absent: Llama's. */
  readonly names?: NameTable;
}

/** By model_type. Two that are the same have a line each. */
export const ARCHITECTURES: Readonly<Record<string, Family>> = {
  llama: { describe: describeLlama },
  mistral: { describe: describeMistral },
  qwen2: { describe: describeQwen2 },
  qwen3: { describe: describeQwen3 },

  arcee: { describe: describeArcee },
  cohere: { describe: describeCohere },
  cwm: { describe: describeCwm },
  gemma: { describe: describeGemma },
  gemma2: { describe: describeGemma2 },
  gemma3_text: { describe: describeGemma3 },
  gemma3n_text: { describe: describeGemma3n },
  gemma4_text: { describe: describeGemma4 },
  granite: { describe: describeGranite },
  olmo2: { describe: describeOlmo2 },
  phi3: { describe: describePhi3, names: PHI3_NAMES },
  starcoder2: { describe: describeStarcoder2, names: STARCODER2_NAMES },
  vaultgemma: { describe: describeVaultGemma },

  seed_oss: { describe: describeSeedOss },
  smollm3: { describe: describeSmolLm3 },
  olmo: { describe: describeOlmo },
  olmo3: { describe: describeOlmo3 },
  exaone4: { describe: describeExaone4 },
  glm: { describe: describeGlm },
  glm4: { describe: describeGlm4 },
  cohere2: { describe: describeCohere2 },
  hunyuan_v1_dense: { describe: describeHunyuanV1Dense, names: HUNYUAN_NAMES },
  ministral3: { describe: describeMinistral3 },
  granite_swa: { describe: describeGraniteSwa },
  hyperclovax: { describe: describeHyperClovaX },
  ernie4_5: { describe: describeErnie45 },
  apertus: { describe: describeApertus, names: APERTUS_NAMES },
  phi: { describe: describePhi, names: PHI_NAMES },
  stablelm: { describe: describeStableLm, names: STABLELM_NAMES },
  nemotron: { describe: describeNemotron },
  jais2: { describe: describeJais2 },
  helium: { describe: describeHelium },
  gpt_neox: { describe: describeGptNeoX, names: GPT_NEOX_NAMES },
  gptj: { describe: describeGptJ, names: GPTJ_NAMES },
  falcon: { describe: describeFalcon, names: FALCON_NAMES },

  gpt2: { describe: describeGpt2, names: GPT_NAMES },
  gpt_bigcode: { describe: describeGptBigCode, names: GPT_NAMES },
  opt: { describe: describeOpt, names: OPT_NAMES },

  qwen3_moe: { describe: describeQwen3Moe },
  mixtral: { describe: describeMixtral },
  qwen2_moe: { describe: describeQwen2Moe },
  olmoe: { describe: describeOlmoe },
  flex_olmo: { describe: describeFlexOlmo },
  granitemoe: { describe: describeGraniteMoe },
  granitemoeshared: { describe: describeGraniteMoeShared },
  granitemoe_swa: { describe: describeGraniteMoeSwa },
  glm4_moe: { describe: describeGlm4Moe },
  dots1: { describe: describeDots1 },
  exaone_moe: { describe: describeExaoneMoe },
  minimax_m2: { describe: describeMiniMaxM2 },
  ernie4_5_moe: { describe: describeErnie45Moe },
  hunyuan_v1_moe: { describe: describeHunyuanV1Moe, names: HUNYUAN_NAMES },
  mellum: { describe: describeMellum },

  afmoe: { describe: describeAfmoe },
  laguna: { describe: describeLaguna },
  hy_v3: { describe: describeHyV3 },
  cohere2_moe: { describe: describeCohere2Moe },
  mimo_v2_flash: { describe: describeMimoV2Flash },
  phimoe: { describe: describePhimoe },
  dbrx: { describe: describeDbrx, names: DBRX_NAMES },
  llama4_text: { describe: describeLlama4Text, names: LLAMA4_NAMES },
  gpt_oss: { describe: describeGptOss },
};

/** Multimodal models, by model_type: the key of config.json that has the config of their decoder. */
const WRAPPERS: Readonly<Record<string, string>> = {
  gemma3: "text_config",
  gemma3n: "text_config",
  gemma4: "text_config",
  llama4: "text_config",
};

export interface DescribeOptions {
  /** Keys of config.json that the user says change nothing, with dots where objects are nested. */
  readonly assumeHarmless?: readonly string[] | undefined;
}

/**
 * Describes the decoder of a checkpoint and checks that every tensor it needs is there, in the right shape, and that no
 * layer has a tensor that the description does not use.
 * @throws UnsupportedModelError for an architecture, a setting or a dtype that is not supported, and for a key of
 * config.json that nobody read
 * @throws CheckpointError for missing tensors and wrong shapes
 */
export function describeModel(
  configJson: Readonly<Record<string, unknown>>,
  tensors: TensorShapes,
  { assumeHarmless = [] }: DescribeOptions = {},
): Decoder {
  const whole = new ModelConfig(configJson);
  const config = decoderConfig(whole);
  const modelType = config.string("model_type");
  const family = Object.hasOwn(ARCHITECTURES, modelType) ? ARCHITECTURES[modelType] : undefined;
  if (family === undefined) {
    const known = Object.keys(ARCHITECTURES).join(", ");
    throw new UnsupportedModelError(`config.json: model_type "${modelType}" is not supported; supported: ${known}`);
  }
  refuseQuantizedWeights(whole, tensors);
  if (!assumeHarmless.includes("quantization_config")) readQuantization(whole);
  const table = family.names ?? LLAMA_NAMES;
  const names = new TensorNames(table, findPrefix(table, tensors.keys()));
  const decoder = family.describe({ config, names });
  refuseBidirectional(config, assumeHarmless);
  refuseLeftOver(whole.leftOver(), modelType, assumeHarmless);
  checkTensors(decoder, tensors, names.layers);
  return decoder;
}

/** Where the decoder is described: in most models the whole of config.json. */
function decoderConfig(whole: ModelConfig): ModelConfig {
  const modelType = whole.string("model_type");
  const key = Object.hasOwn(WRAPPERS, modelType) ? WRAPPERS[modelType] : undefined;
  return key === undefined ? whole : whole.object(key);
}

/** The one key whose `false` says something in every family, and no family reads. */
function refuseBidirectional(config: ModelConfig, assumed: readonly string[]): void {
  if (assumed.includes("is_causal") || config.boolean("is_causal", true)) return;
  throw new UnsupportedModelError(
    `${config.nameOf("is_causal")}: false is not understood: tokens would see those behind them, and K and V would be others. If the checkpoint is served with causal attention, accept it with --assume-harmless is_causal.`,
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
 * What turns the last hidden states into logits: what calibration does without.
 * @throws UnsupportedModelError when the checkpoint has none; CheckpointError when its tensors do not fit
 */
export function describeModelEnd(tensors: TensorShapes, decoder: Decoder): ModelEnd {
  checkEnd(decoder.end, decoder, tensors);
  return decoder.end;
}
