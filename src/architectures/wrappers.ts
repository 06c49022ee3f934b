// Multimodal models, by model_type: where the config of the text decoder stands in config.json, and what prompts hold
// beside text. Knows no decoder.

import type { ModelConfig } from "./model-config.js";
import { GLM_ASR, TEXT_DEFAULTS, VOXTRAL } from "./text-defaults.js";

/** A kind of tokens in a prompt that is not text. Videos are images. */
export type Modality = "image" | "audio";

interface Wrapper {
  readonly covers: string;
  /** The decoder's config in config.json, with dots for nested objects. */
  readonly decoderKey: string;
  /** model_type of a decoder whose config does not say it; absent: it must say it. */
  readonly decoder?: string;
  /** Another name of that, in released files. */
  readonly alias?: string;
  /** Whether older files have the decoder's keys at the top, without an object of their own. */
  readonly isFlatInOlderFiles?: true;
  /** Its own defaults for what the decoder's config leaves out, before those of the decoder's class. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** Keys of the decoder's config that text does not feel, each with the reason. */
  readonly ignored?: Readonly<Record<string, string>>;
  /** The position of the first token; absent: 0. */
  readonly firstPosition?: number;
  readonly inputs: readonly Modality[];
}

const IMAGES = { inputs: ["image"] } as const;
const AUDIO = { inputs: ["audio"] } as const;
const BOTH = { inputs: ["image", "audio"] } as const;

/** A wrapper whose decoder is `decoder`, unless its config says another. */
const text = (decoder: string) => ({ decoderKey: "text_config", decoder });
const thinker = (decoder: string) => ({ decoderKey: "thinker_config.text_config", decoder });
const textOrFlat = (decoder: string) => ({ ...text(decoder), isFlatInOlderFiles: true }) as const;

/** Multimodal models, by model_type. */
export const WRAPPERS: Readonly<Record<string, Wrapper>> = {
  gemma3: { covers: "Gemma 3: 4B, 12B, 27B", ...text("gemma3_text"), ...IMAGES },
  gemma3n: { covers: "Gemma 3n", ...text("gemma3n_text"), ...BOTH },
  gemma4: { covers: "Gemma 4", ...text("gemma4_text"), ...BOTH },
  gemma4_unified: { covers: "Gemma 4 12B (unified)", ...text("gemma4_unified_text"), ...BOTH },
  llama4: { covers: "Llama 4 Scout, Maverick", ...text("llama4_text"), ...IMAGES },

  qwen2_vl: { covers: "Qwen2-VL, QVQ", ...textOrFlat("qwen2_vl_text"), ...IMAGES },
  qwen2_5_vl: { covers: "Qwen2.5-VL", ...textOrFlat("qwen2_5_vl_text"), ...IMAGES },
  qwen2_5_omni: { covers: "Qwen2.5-Omni (thinker)", ...thinker("qwen2_5_omni_text"), ...BOTH },
  qwen2_5_omni_thinker: { covers: "The thinker of Qwen2.5-Omni alone", ...text("qwen2_5_omni_text"), ...BOTH },
  qwen3_vl: { covers: "Qwen3-VL (dense)", ...text("qwen3_vl_text"), ...IMAGES },
  qwen3_vl_moe: { covers: "Qwen3-VL (mixture of experts)", ...text("qwen3_vl_moe_text"), ...IMAGES },
  qwen3_omni_moe: { covers: "Qwen3-Omni (thinker)", ...thinker("qwen3_omni_moe_text"), ...BOTH },
  qwen3_omni_moe_thinker: { covers: "The thinker of Qwen3-Omni alone", ...text("qwen3_omni_moe_text"), ...BOTH },
  qwen3_5: { covers: "Qwen3.5, 3.6, 3.8 (dense)", ...text("qwen3_5_text"), ...IMAGES },
  qwen3_5_moe: { covers: "Qwen3.5, 3.6, 3.8 (mixture of experts)", ...text("qwen3_5_moe_text"), ...IMAGES },
  minicpmv4_6: { covers: "MiniCPM-V 4.6", ...text("qwen3_5_text"), ...IMAGES },
  minicpmv4_7: { covers: "MiniCPM-V 4.7", ...text("qwen3_5_text"), ...IMAGES },
  minicpm_ocr: { covers: "MiniCPM OCR", ...text("qwen3_5_text"), ...IMAGES },
  lfm2_vl: { covers: "LFM2-VL", ...text("lfm2"), ...IMAGES },
  nemotron_h_omni: { covers: "Nemotron-3 Omni", ...text("nemotron_h"), ...BOTH },
  NemotronH_Nano_Omni_Reasoning_V3: {
    covers: "Nemotron-3 Nano Omni in its own form",
    decoderKey: "llm_config",
    ...BOTH,
  },
  NemotronH_Nano_VL_V2: { covers: "Nemotron Nano 2 VL in its own form", decoderKey: "llm_config", ...IMAGES },
  qwen2_audio: { covers: "Qwen2-Audio", ...text("qwen2"), ...AUDIO },
  qwen3_asr: { covers: "Qwen3-ASR", ...text("qwen3"), ...AUDIO },

  mistral3: { covers: "Mistral Small 3.1 and 3.2, Ministral 3, Devstral Small 2", ...text("mistral"), ...IMAGES },
  voxtral: { covers: "Voxtral", ...text("llama"), ...AUDIO, defaults: VOXTRAL },

  llava: { covers: "LLaVA 1.5, Pixtral", ...text("llama"), ...IMAGES },
  llava_next: { covers: "LLaVA-NeXT, Granite Vision 3", ...text("llama"), ...IMAGES },
  llava_next_video: { covers: "LLaVA-NeXT-Video", ...text("llama"), ...IMAGES },
  llava_onevision: { covers: "LLaVA-OneVision", ...text("qwen2"), ...IMAGES },
  vipllava: { covers: "ViP-LLaVA", ...text("llama"), ...IMAGES },
  video_llava: { covers: "Video-LLaVA", ...text("llama"), ...IMAGES },
  internvl: { covers: "InternVL 3 and 3.5 in transformers' form", ...text("qwen2"), ...IMAGES },
  internvl_chat: { covers: "InternVL 2 to 3.5 in their own form", decoderKey: "llm_config", ...IMAGES },
  idefics2: { covers: "Idefics 2", ...text("mistral"), ...IMAGES },
  idefics3: { covers: "Idefics 3", ...text("llama"), ...IMAGES },
  smolvlm: { covers: "SmolVLM, SmolVLM2", ...text("llama"), ...IMAGES },
  glm4v: { covers: "GLM-4.1V", ...text("glm4v_text"), ...IMAGES },
  glm46v: { covers: "GLM-4.6V", ...text("glm4v_text"), ...IMAGES },
  glm4v_moe: { covers: "GLM-4.5V", ...text("glm4v_moe_text"), ...IMAGES },
  glm_ocr: { covers: "GLM-OCR", ...text("glm_ocr_text"), ...IMAGES },
  glmasr: { covers: "GLM-ASR", ...text("llama"), ...AUDIO, defaults: GLM_ASR },
  paddleocr_vl: { covers: "PaddleOCR-VL", ...textOrFlat("paddleocr_vl_text"), ...IMAGES },
  ernie4_5_vl_moe: { covers: "ERNIE 4.5 VL in transformers' form", ...text("ernie4_5_vl_moe_text"), ...IMAGES },
  ernie4_5_moe_vl: { covers: "ERNIE 4.5 VL as released", ...textOrFlat("ernie4_5_vl_moe_text"), ...IMAGES },
  hunyuan_vl: { covers: "HunyuanOCR", ...textOrFlat("hunyuan_vl_text"), ...IMAGES },
  paligemma: {
    ...{ covers: "PaliGemma, PaliGemma 2", ...text("gemma"), ...IMAGES },
    ignored: { use_bidirectional_attention: "of prompts with an image: in text alone, tokens see earlier ones" },
    firstPosition: 1,
  },
  aya_vision: { covers: "Aya Vision", ...text("cohere2"), ...IMAGES },
  cohere2_vision: { covers: "Command A Vision", ...text("cohere2"), ...IMAGES },
  granite4_vision: { covers: "Granite 4 Vision", ...text("granite4_vision_text"), ...IMAGES },
  granite_docling: { covers: "Granite for Docling", ...text("granite_docling_text"), ...IMAGES },
  granite_speech: { covers: "Granite Speech", ...text("granite"), ...AUDIO },
  granite_speech_plus: { covers: "Granite Speech Plus", ...text("granite"), ...AUDIO },
  exaone4_5: { covers: "EXAONE 4.5", ...text("exaone4"), alias: "exaone4_5_text", ...IMAGES },
  hyperclovax_vision_v2: { covers: "HyperCLOVA X Vision", ...text("hyperclovax"), ...IMAGES },
  aria: { covers: "Aria", ...text("aria_text"), ...IMAGES },
  audioflamingo3: { covers: "Audio Flamingo 3", ...text("qwen2"), ...AUDIO },
  musicflamingo: { covers: "Music Flamingo", ...text("qwen2"), ...AUDIO },
  vibevoice_asr: { covers: "VibeVoice ASR", ...text("qwen2"), ...AUDIO },
  fun_asr_nano: { covers: "Fun-ASR-Nano", ...text("qwen3"), ...AUDIO },
  moss_transcribe_diarize: { covers: "MOSS Transcribe Diarize", ...text("qwen3"), ...AUDIO },
  deepseek_vl: { covers: "DeepSeek-VL 1.3B", ...text("llama"), ...IMAGES },
  deepseek_vl_hybrid: { covers: "DeepSeek-VL 7B", ...text("llama"), ...IMAGES },
  janus: { covers: "Janus (text and image understanding)", ...text("llama"), ...IMAGES },
  fast_vlm: { covers: "FastVLM", ...text("qwen2"), ...IMAGES },
  got_ocr2: { covers: "GOT-OCR 2", ...text("qwen2"), ...IMAGES },
  lighton_ocr: { covers: "LightOnOCR", ...text("qwen3"), ...IMAGES },
  qianfan_ocr: { covers: "Qianfan-OCR", ...text("qwen3"), ...IMAGES },
  ovis2: { covers: "Ovis 2 in transformers' form", ...text("qwen2"), ...IMAGES },
  perception_lm: { covers: "Perception LM", ...text("llama"), ...IMAGES },
  video_llama_3: { covers: "VideoLLaMA 3", ...text("qwen2"), ...IMAGES },
};

/** Undefined where model_type is no multimodal model's. */
export function wrapperOf(modelType: unknown): Wrapper | undefined {
  return typeof modelType === "string" && Object.hasOwn(WRAPPERS, modelType) ? WRAPPERS[modelType] : undefined;
}

/** The kinds of tokens that prompts of a checkpoint can hold beside text; none of a text model. */
export function inputsBesideText({ model_type }: Readonly<Record<string, unknown>>): readonly Modality[] {
  return wrapperOf(model_type)?.inputs ?? [];
}

/** The decoder's config in config.json. */
export interface DecoderConfig {
  readonly config: ModelConfig;
  /** Its place; undefined where the whole of config.json is the decoder's. */
  readonly path: string | undefined;
}

/**
 * The decoder's config: in most models the whole of config.json. That in a multimodal model has transformers' defaults
 * for what it leaves out.
 * @throws CheckpointError when it is not there
 */
export function decoderConfigOf(whole: ModelConfig): DecoderConfig {
  const wrapper = wrapperOf(whole.string("model_type"));
  if (wrapper === undefined) return { config: whole, path: undefined };
  const { decoderKey, decoder, alias, isFlatInOlderFiles, defaults, ignored = {} } = wrapper;
  const [outer = "", ...inner] = decoderKey.split(".");
  if (isFlatInOlderFiles && decoder !== undefined && !whole.has(outer)) {
    const absent = TEXT_DEFAULTS[decoder] ?? {};
    return { config: whole.completed(absent, { model_type: decoder }), path: undefined };
  }
  const own = inner.reduce((config, key) => config.object(key), whole.object(outer));
  const said = own.string("model_type", decoder);
  const modelType = said === alias ? (decoder ?? said) : said;
  for (const [key, because] of Object.entries(ignored)) own.ignore(key, because);
  return {
    config: own.completed({ ...TEXT_DEFAULTS[modelType], ...defaults }, { model_type: modelType }),
    path: decoderKey,
  };
}
