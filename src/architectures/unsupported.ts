// Known architectures that cannot be calibrated, each with the reason, and the error for an unknown model_type. Knows
// no description.

import { UnsupportedModelError } from "../errors.js";

const MLA =
  "its attention is multi-head latent attention (MLA): the cache holds one latent vector per token instead of K and V, and engines load no scales for it";
const SPARSE_MLA =
  "its attention is sparse multi-head latent attention (MLA): the cache holds latent vectors, which engines scale by themselves while they run";
const HYBRID_MLA =
  "it is a hybrid whose attention is multi-head latent attention (MLA): the cache holds one latent vector per token instead of K and V, and engines load no scales for it";
const EXPANDED_MLA =
  "its keys and values are expanded from a latent vector, as in multi-head latent attention (MLA), and that is not computed here";
const HYBRID =
  "it is a hybrid: it has recurrent or convolutional layers in place of attention, and those are not computed here";
const PARALLEL_HYBRID =
  "it is a hybrid: its layers have a state-space model beside attention, and that is not computed here";
const NO_ATTENTION = "it has no attention, so it has no KV cache and nothing to scale";
const ENCODER_DECODER =
  "it is an encoder-decoder: only models that are a decoder alone (causal language models) are supported";
const ENCODER = "it is an encoder: it generates no text and keeps no KV cache";
const ALIBI =
  "it uses ALiBi: each attention score has a bias that grows with the distance, and attention here has no place for it";
const SPARSE =
  "its attention is sparse: an indexer chooses the tokens that are attended to, and that is not computed here";
const MULTIMODAL_HYBRID = "it is multimodal, and its decoder is a hybrid with layers that are not computed here";
const ONLY_RATES = "it rates images: it generates no text";
const CROSS_ATTENTION =
  "it attends to the image in some layers, in place of earlier tokens, and that is not computed here";
const ADAPTERS =
  "its decoder computes with adapters (LoRA) for images and sound beside its weights, and those are not read";
const NAMELESS_DECODER =
  "its config.json does not say which decoder it has: give a checkpoint of the decoder alone, with its own config.json";
const SPLIT_EMBEDDING = "its embedding is stored in two tensors, and is not read";
const BLOCK_DIFFUSION = "it writes blocks of tokens by diffusion, which see later ones";
const OTHER_DECODER = "it is multimodal, and its decoder is of a kind that is not computed here";

/** The reason by model_type, which follows "is not supported:". */
export const UNSUPPORTED: Readonly<Record<string, string>> = {
  ...reasonOf(MLA, ["deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25", "glm4_moe_lite", "longcat_flash"]),
  ...reasonOf(MLA, ["axk1", "mistral4", "dots3_note", "dots3_note_text", "youtu", "kimi_vl", "longcat_flash_ngram"]),
  ...reasonOf(MLA, ["sarvam_mla", "pangu_ultra_moe"]),
  ...reasonOf(EXPANDED_MLA, ["minicpm3"]),
  ...reasonOf(HYBRID_MLA, ["kimi_linear", "kimi_k3", "bailing_hybrid"]),
  ...reasonOf(SPARSE_MLA, ["deepseek_v32", "deepseek_v4", "glm_moe_dsa", "glm5_next", "hy_v4"]),
  ...reasonOf(SPARSE_MLA, ["deepseek_v41", "glm5_next_text", "axk2", "mistral_large4_text"]),
  ...reasonOf(HYBRID, ["qwen4_exp"]),
  ...reasonOf(HYBRID, ["zamba", "zamba2"]),
  ...reasonOf(HYBRID, ["minimax", "recurrent_gemma", "plamo2"]),
  ...reasonOf(PARALLEL_HYBRID, ["hymba"]),
  ...reasonOf(NO_ATTENTION, ["mamba", "mamba2", "falcon_mamba", "rwkv", "rwkv5", "rwkv6", "rwkv7", "xlstm"]),
  ...reasonOf(ENCODER_DECODER, ["t5", "mt5", "umt5", "longt5", "switch_transformers", "t5gemma", "t5gemma2", "bart"]),
  ...reasonOf(ENCODER_DECODER, ["mbart", "pegasus", "marian", "m2m_100", "nllb-moe", "led", "whisper", "cohere_asr"]),
  ...reasonOf(ENCODER_DECODER, ["blenderbot", "prophetnet", "seamless_m4t", "speech_to_text", "florence2"]),
  ...reasonOf(ENCODER, ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "albert", "electra", "deberta"]),
  ...reasonOf(ENCODER, ["deberta-v2", "mpnet", "modernbert", "nomic_bert", "eurobert", "clip", "siglip", "vit"]),
  ...reasonOf(ALIBI, ["bloom", "mpt"]),
  ...reasonOf(SPARSE, ["minimax_m3_vl"]),
  ...reasonOf(MULTIMODAL_HYBRID, ["nemo_speechlm", "inkling_mm_model", "lfm3_vl"]),
  ...reasonOf(ONLY_RATES, ["shieldgemma2"]),
  ...reasonOf(CROSS_ATTENTION, ["mllama"]),
  ...reasonOf(ADAPTERS, ["phi4_multimodal", "phi4mm"]),
  ...reasonOf(NAMELESS_DECODER, ["minicpmv", "minicpmo"]),
  ...reasonOf(SPLIT_EMBEDDING, ["molmo2"]),
  ...reasonOf(BLOCK_DIFFUSION, ["diffusion_gemma"]),
  ...reasonOf(OTHER_DECODER, ["fuyu", "step3p7", "muse_glimmer", "muse_spark", "cohere_compass", "cosmos3_edge"]),
  ...reasonOf(OTHER_DECODER, ["deepseek_vl_v2", "deepseek_ocr", "deepseek_ocr2", "unlimited_ocr", "voxtral_realtime"]),
  ...reasonOf(OTHER_DECODER, ["kosmos-2", "kosmos-2.5", "blip", "mistral_large4", "inkling2"]),
};

function reasonOf(reason: string, modelTypes: readonly string[]): Record<string, string> {
  return Object.fromEntries(modelTypes.map((modelType) => [modelType, reason]));
}

/** @param supported model types, for suggestions */
export function refuseModelType(modelType: string, supported: readonly string[]): never {
  const reason = Object.hasOwn(UNSUPPORTED, modelType) ? UNSUPPORTED[modelType] : undefined;
  const why = reason === undefined ? suggestionOf(modelType, supported) : `: ${reason}. `;
  throw new UnsupportedModelError(
    `config.json: model_type "${modelType}" is not supported${why}\`create-kv-scales architectures\` lists what is.`,
  );
}

const SUGGESTIONS = 3;
/** Longer names are cut before they are compared: no model_type is so long. */
const LONGEST_NAME = 64;

function suggestionOf(modelType: string, supported: readonly string[]): string {
  const near = nearestNames(modelType, supported);
  return near.length === 0 ? ". " : `. Did you mean ${near.map((name) => `"${name}"`).join(" or ")}? `;
}

/** Names with the same beginning, or with a few other characters; the nearest first. */
function nearestNames(modelType: string, names: readonly string[]): string[] {
  const asked = modelType.toLowerCase().replaceAll(/[-.\s]/g, "_");
  if (asked === "" || asked.length > LONGEST_NAME) return [];
  return names
    .map((name) => ({ name, distance: editDistance(asked, name) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(asked.length / 3)) || isExtended(asked, name))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, SUGGESTIONS)
    .map(({ name }) => name);
}

/** Whether one name is the other plus a word, such as `qwen3_moe` and `qwen3`. */
function isExtended(a: string, b: string): boolean {
  return a.startsWith(`${b}_`) || b.startsWith(`${a}_`);
}

/** Levenshtein distance: characters to insert, delete or replace. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [row, character] of [...a].entries()) {
    const current = [row + 1];
    for (const [column, other] of [...b].entries()) {
      const replaced = (above[column] ?? 0) + (character === other ? 0 : 1);
      current.push(Math.min(replaced, (above[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1));
    }
    above = current;
  }
  return above.at(-1) ?? 0;
}
