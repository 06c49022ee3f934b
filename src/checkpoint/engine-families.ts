// What engines do with the scales of a model_type, whatever their form: one row per model_type that is known, and how it
// is known. Knows no tensor.

/** "loads": under the name of the attention. "refuses": for a model with such tensors does not load. */
export interface FamilyRule {
  readonly does: "loads" | "refuses" | "ignores";
  /** Whether real vLLM 0.32 did it, or its source says so. */
  readonly known: "measured" | "read";
}

function rowsOf(rule: FamilyRule, modelTypes: readonly string[]): [string, FamilyRule][] {
  return modelTypes.map((modelType) => [modelType, rule]);
}

const LOADED: FamilyRule = { does: "loads", known: "measured" };
const LOADS: FamilyRule = { does: "loads", known: "read" };
const REFUSED: FamilyRule = { does: "refuses", known: "measured" };
const REFUSES: FamilyRule = { does: "refuses", known: "read" };
const IGNORED: FamilyRule = { does: "ignores", known: "measured" };
const IGNORES: FamilyRule = { does: "ignores", known: "read" };

/** vLLM 0.32, its transformers backend included. Several lines per rule: an order by kind of model. */
export const VLLM_FAMILIES: ReadonlyMap<string, FamilyRule> = new Map([
  ...rowsOf(LOADED, ["llama", "phi3", "cohere2", "olmo2", "granite", "gemma3_text"]),
  ...rowsOf(LOADED, ["qwen3_moe", "mixtral", "glm4_moe", "gpt_oss"]),
  ...rowsOf(LOADED, ["nemotron_h", "qwen3_next"]),

  ...rowsOf(LOADS, ["mistral", "ministral3", "qwen2", "qwen3", "cwm", "arcee", "seed_oss", "smollm3", "granite_swa"]),
  ...rowsOf(LOADS, ["hyperclovax", "ernie4_5", "glm", "glm4", "phi", "starcoder2", "stablelm", "nemotron", "jais2"]),
  ...rowsOf(LOADS, ["apertus", "olmo", "olmo3", "exaone4", "cohere", "hunyuan_v1_dense", "gemma", "gemma2"]),
  ...rowsOf(LOADS, ["vaultgemma", "gemma3n_text", "gemma4_text", "gpt_neox", "gptj", "gpt2", "gpt_bigcode", "opt"]),
  ...rowsOf(LOADS, ["falcon", "qwen2_moe", "mellum", "olmoe", "flex_olmo", "granitemoe", "granitemoeshared"]),
  ...rowsOf(LOADS, ["granitemoe_swa", "minimax_m2", "ernie4_5_moe", "hunyuan_v1_moe", "hy_v3", "afmoe", "laguna"]),
  ...rowsOf(LOADS, ["exaone_moe", "cohere2_moe", "mimo_v2_flash", "llama4_text", "phimoe", "dbrx"]),
  ...rowsOf(LOADS, ["qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text", "qwen4_exp", "olmo_hybrid"]),
  ...rowsOf(LOADS, ["granitemoehybrid", "falcon_h1"]),
  ...rowsOf(LOADS, ["gemma3", "gemma3n", "gemma4", "llama4", "mistral3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"]),
  ...rowsOf(LOADS, ["qwen3_vl_moe", "llava", "llava_next", "llava_onevision", "idefics3", "smolvlm", "internvl"]),
  ...rowsOf(LOADS, ["glm4v", "glm4v_moe", "cohere2_vision", "granite_speech", "voxtral", "paligemma"]),

  ...rowsOf(REFUSED, ["lfm2"]),
  ...rowsOf(REFUSES, ["lfm2_moe", "lfm2_vl", "jamba", "zamba2", "plamo3"]),

  ...rowsOf(IGNORED, ["deepseek_v2"]),
  ...rowsOf(IGNORES, ["deepseek_v3", "deepseek_v32", "deepseek_v4", "kimi_k2", "glm4_moe_lite", "longcat_flash"]),
  ...rowsOf(IGNORES, ["minicpm3", "axk1", "glm_moe_dsa", "glm5_next", "dots3_note", "hy_v4", "kimi_linear"]),
]);

/** SGLang's loaders of these drop scales (its issue 39942, open in September 2026). */
export const DROPPED_BY_SGLANG: ReadonlySet<string> = new Set(["qwen2", "qwen3_moe", "mixtral"]);
