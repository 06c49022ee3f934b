// What engines do with the scales of a model_type in any form: one row per known model_type, and how it is known. Knows
// no tensor.

/** "loads": under the name of the attention. "refuses": a checkpoint with such tensors. "ignores": loads without them. */
type FamilyRule = "loads" | "refuses" | "ignores";

function rowsOf(rule: FamilyRule, modelTypes: readonly string[]): [string, FamilyRule][] {
  return modelTypes.map((modelType) => [modelType, rule]);
}

/** vLLM 0.32, its transformers backend included. */
export const VLLM_FAMILIES: ReadonlyMap<string, FamilyRule> = new Map([
  // Measured: every layer had the values of the checkpoint.
  ...rowsOf("loads", ["llama", "phi3", "cohere2", "olmo2", "granite", "gemma3_text"]),
  ...rowsOf("loads", ["apertus", "arcee", "cohere", "cwm", "gpt2", "gptj", "gpt_bigcode", "gpt_neox"]),
  ...rowsOf("loads", ["qwen3_moe", "mixtral", "glm4_moe", "gpt_oss", "cohere2_moe", "qwen2_moe"]),
  ...rowsOf("loads", ["nemotron_h", "qwen3_next", "granitemoehybrid", "falcon_h1"]),
  // Expands the latent vector, and caches K and V of every head.
  ...rowsOf("loads", ["minicpm3"]),

  // Read in its source.
  ...rowsOf("loads", [
    "mistral",
    "ministral3",
    "internlm3",
    "iquestcoder",
    "qwen2",
    "qwen3",
    "seed_oss",
    "smollm3",
    "granite_swa",
  ]),
  ...rowsOf("loads", ["hyperclovax", "ernie4_5", "glm", "glm4", "phi", "starcoder2", "stablelm", "nemotron", "jais2"]),
  ...rowsOf("loads", ["olmo", "olmo3", "exaone4", "hunyuan_v1_dense", "gemma", "gemma2"]),
  ...rowsOf("loads", ["vaultgemma", "gemma3n_text", "gemma4_text", "opt"]),
  ...rowsOf("loads", ["falcon", "mellum", "olmoe", "flex_olmo", "granitemoe", "granitemoeshared"]),
  ...rowsOf("loads", ["granitemoe_swa", "minimax_m2", "ernie4_5_moe", "hunyuan_v1_moe", "hy_v3", "afmoe", "laguna"]),
  ...rowsOf("loads", ["exaone_moe", "mimo_v2_flash", "llama4_text", "phimoe", "dbrx"]),
  ...rowsOf("loads", ["qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text", "qwen4_exp", "olmo_hybrid"]),
  ...rowsOf("loads", ["gemma3", "gemma3n", "gemma4", "llama4", "mistral3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"]),
  ...rowsOf("loads", ["qwen3_vl_moe", "llava", "llava_next", "llava_onevision", "idefics3", "smolvlm", "internvl"]),
  ...rowsOf("loads", ["glm4v", "glm4v_moe", "cohere2_vision", "granite_speech", "voxtral", "paligemma"]),
  ...rowsOf("loads", ["gemma4_unified", "qwen2_5_omni", "qwen3_omni_moe", "qwen2_audio", "qwen3_asr", "glm_ocr"]),
  ...rowsOf("loads", ["llava_next_video", "internvl_chat", "glmasr", "paddleocr_vl", "ernie4_5_vl_moe", "aria"]),
  ...rowsOf("loads", ["ernie4_5_moe_vl"]),
  ...rowsOf("loads", ["granite4_vision", "granite_speech_plus", "exaone4_5", "audioflamingo3", "lighton_ocr"]),
  ...rowsOf("loads", ["qianfan_ocr", "moss_transcribe_diarize", "minicpmv4_6", "minicpmv4_7"]),
  ...rowsOf("loads", ["nemotron_h_omni", "NemotronH_Nano_Omni_Reasoning_V3", "NemotronH_Nano_VL_V2"]),

  // The first of each were measured.
  ...rowsOf("refuses", ["lfm2", "lfm2_moe"]),
  ...rowsOf("refuses", ["lfm2_vl", "jamba", "zamba2", "plamo3"]),

  ...rowsOf("ignores", ["deepseek_v2"]),
  ...rowsOf("ignores", ["deepseek_v3", "deepseek_v32", "deepseek_v4", "kimi_k2", "glm4_moe_lite", "longcat_flash"]),
  ...rowsOf("ignores", ["axk1", "glm_moe_dsa", "glm5_next", "dots3_note", "hy_v4", "kimi_linear"]),
]);

const ISSUE_39942 = "issue 39942 of SGLang";
const LFM2_LOADER = "it looks for attn.k_scale and attn.v_scale";

/** Model types whose loaders in SGLang drop scales, and where that is known from: open in September 2026, or read. */
export const DROPPED_BY_SGLANG: ReadonlyMap<string, string> = new Map([
  ["qwen2", ISSUE_39942],
  ["qwen3_moe", ISSUE_39942],
  ["mixtral", ISSUE_39942],
  ["lfm2", LFM2_LOADER],
  ["lfm2_moe", LFM2_LOADER],
]);
