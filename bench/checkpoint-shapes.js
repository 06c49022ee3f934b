// The shapes that checkpoints are made in: config.json, the tensors of a layer, and the arithmetic of a token. Knows no bytes
// and no file.

/** @typedef {[name: string, shape: number[], dtype?: "U8"]} Tensor without a dtype: BF16 */

/**
 * @typedef {object} Shape config.json; of what is not named here, only transformers and create-kv-scales make something
 * @property {string} model_type
 * @property {number} hidden_size
 * @property {number} intermediate_size
 * @property {number} num_hidden_layers
 * @property {number} num_attention_heads
 * @property {number} num_key_value_heads
 * @property {number} vocab_size
 * @property {boolean} tie_word_embeddings
 * @property {number} [head_dim]
 * @property {number} [num_experts]
 * @property {number} [num_local_experts] of gpt_oss: its experts, in MXFP4
 * @property {{ quant_method: string, modules_to_not_convert: string[] }} [quantization_config]
 * @property {number} [num_experts_per_tok]
 * @property {number} [moe_intermediate_size]
 * @property {number} [shared_expert_intermediate_size]
 * @property {number} [full_attention_interval] of hybrids: every so many layers one has attention
 * @property {number} [linear_num_key_heads]
 * @property {number} [linear_num_value_heads]
 * @property {number} [linear_key_head_dim]
 * @property {number} [linear_value_head_dim]
 * @property {number} [linear_conv_kernel_dim]
 */

/**
 * @param {number} hidden @param {number} intermediate @param {number} layers
 * @param {number} heads @param {number} kvHeads @param {number} vocabulary
 */
export function shape(hidden, intermediate, layers, heads, kvHeads, vocabulary) {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    vocab_size: vocabulary,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 500000.0,
    hidden_act: "silu",
    tie_word_embeddings: false,
    torch_dtype: "bfloat16",
  };
}

const GPT_OSS_YARN = {
  ...{ rope_type: "yarn", factor: 32.0, beta_fast: 32.0, beta_slow: 1.0, truncate: false },
  original_max_position_embeddings: 4096,
};

/** @type {Readonly<Record<string, Shape>>} */
export const SHAPES = {
  "smollm2-135m": { ...shape(576, 1536, 30, 9, 3, 49152), tie_word_embeddings: true },
  "llama-3-8b": shape(4096, 14336, 32, 32, 8, 128256),
  "llama-3-70b": shape(8192, 28672, 80, 64, 8, 128256),
  "qwen3-30b-a3b": {
    ...shape(2048, 6144, 48, 32, 4, 151936),
    ...{ architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", head_dim: 128 },
    ...{ num_experts: 128, num_experts_per_tok: 8, moe_intermediate_size: 768, norm_topk_prob: true },
    ...{ decoder_sparse_step: 1, mlp_only_layers: [], rms_norm_eps: 1e-6, rope_theta: 1000000.0 },
  },
  "qwen3-next-80b": {
    ...shape(2048, 5120, 48, 16, 2, 151936),
    ...{ architectures: ["Qwen3NextForCausalLM"], model_type: "qwen3_next", head_dim: 256, full_attention_interval: 4 },
    ...{ num_experts: 512, num_experts_per_tok: 10, moe_intermediate_size: 512, shared_expert_intermediate_size: 512 },
    ...{ linear_num_key_heads: 16, linear_num_value_heads: 32, linear_key_head_dim: 128, linear_value_head_dim: 128 },
    ...{ linear_conv_kernel_dim: 4, norm_topk_prob: true, decoder_sparse_step: 1, mlp_only_layers: [] },
    ...{ rms_norm_eps: 1e-6, rope_theta: 10000000.0, partial_rotary_factor: 0.25 },
  },
  "gpt-oss-20b": {
    ...shape(2880, 2880, 24, 64, 8, 201088),
    ...{ architectures: ["GptOssForCausalLM"], model_type: "gpt_oss", head_dim: 64, attention_bias: true },
    ...{ num_local_experts: 32, num_experts_per_tok: 4, sliding_window: 128, swiglu_limit: 7.0 },
    ...{ max_position_embeddings: 131072, rope_theta: 150000.0, rope_scaling: GPT_OSS_YARN },
    quantization_config: {
      quant_method: "mxfp4",
      modules_to_not_convert: [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
      ],
    },
  },
  "gemma-3-4b": {
    ...shape(2560, 10240, 34, 8, 4, 262144),
    ...{ architectures: ["Gemma3ForCausalLM"], model_type: "gemma3_text", head_dim: 256 },
    ...{ hidden_act: undefined, hidden_activation: "gelu_pytorch_tanh", query_pre_attn_scalar: 256 },
    ...{ sliding_window: 1024, sliding_window_pattern: 6, max_position_embeddings: 131072 },
    ...{ rope_theta: 1000000.0, rope_local_base_freq: 10000.0, rope_scaling: { factor: 8.0, rope_type: "linear" } },
    ...{ rms_norm_eps: 1e-6, tie_word_embeddings: true },
  },
};

const NORMS = ["input_layernorm", "post_attention_layernorm"];
const GEMMA_NORMS = [...NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm"];

/** @param {Shape} config @param {number} layer @returns {Tensor[]} */
export function tensorsOfLayer(config, layer) {
  const { hidden_size: hidden, model_type: type } = config;
  const norms = type === "gemma3_text" ? GEMMA_NORMS : NORMS;
  /** @type {Tensor[]} */
  const tensors = [
    ...norms.map((norm) => /** @type {Tensor} */ ([`${norm}.weight`, [hidden]])),
    ...(hasAttention(config, layer) ? attentionOf(config) : gatedDeltaNetOf(config)),
    ...feedForwardOf(config),
  ];
  return tensors.map(([name, ...others]) => [`model.layers.${layer}.${name}`, ...others]);
}

/** @param {Shape} config @param {number} layer */
function hasAttention({ full_attention_interval: interval = 1 }, layer) {
  return (layer + 1) % interval === 0;
}

/** @param {Shape} config @returns {Tensor[]} */
function attentionOf(config) {
  const { hidden_size: hidden, model_type: type } = config;
  const { headDim, keyValue } = attentionSizes(config);
  const inner = headDim * config.num_attention_heads;
  const norms = type === "llama" || type === "gpt_oss" ? [] : ["q_norm", "k_norm"];
  /** @type {Tensor[]} */
  const ofGptOss = [
    ["self_attn.q_proj.bias", [inner]],
    ["self_attn.k_proj.bias", [keyValue]],
    ["self_attn.v_proj.bias", [keyValue]],
    ["self_attn.o_proj.bias", [hidden]],
    ["self_attn.sinks", [config.num_attention_heads]],
  ];
  return [
    ...(type === "gpt_oss" ? ofGptOss : []),
    ["self_attn.q_proj.weight", [type === "qwen3_next" ? 2 * inner : inner, hidden]],
    ["self_attn.k_proj.weight", [keyValue, hidden]],
    ["self_attn.v_proj.weight", [keyValue, hidden]],
    ["self_attn.o_proj.weight", [hidden, inner]],
    ...norms.map((norm) => /** @type {Tensor} */ ([`self_attn.${norm}.weight`, [headDim]])),
  ];
}

/** @param {Shape} config @returns {Tensor[]} */
function gatedDeltaNetOf({ hidden_size: hidden, ...config }) {
  const { linear_num_key_heads: keyHeads = 0, linear_num_value_heads: valueHeads = 0 } = config;
  const {
    linear_key_head_dim: keyDim = 0,
    linear_value_head_dim: valueDim = 0,
    linear_conv_kernel_dim: kernel = 0,
  } = config;
  const [keys, values] = [keyHeads * keyDim, valueHeads * valueDim];
  return [
    ["linear_attn.in_proj_qkvz.weight", [2 * keys + 2 * values, hidden]],
    ["linear_attn.in_proj_ba.weight", [2 * valueHeads, hidden]],
    ["linear_attn.conv1d.weight", [2 * keys + values, 1, kernel]],
    ["linear_attn.dt_bias", [valueHeads]],
    ["linear_attn.A_log", [valueHeads]],
    ["linear_attn.norm.weight", [valueDim]],
    ["linear_attn.out_proj.weight", [hidden, values]],
  ];
}

/** @param {Shape} config @returns {Tensor[]} */
function feedForwardOf({ hidden_size: hidden, intermediate_size: intermediate, ...config }) {
  const { num_experts: experts = 0, moe_intermediate_size: ofExpert = 0 } = config;
  if (config.num_local_experts !== undefined) return expertsInMxfp4(config.num_local_experts, hidden, intermediate);
  if (experts === 0) return gated("mlp", hidden, intermediate);
  const each = Array.from({ length: experts }, (_, expert) => gated(`mlp.experts.${expert}`, hidden, ofExpert));
  const shared = config.shared_expert_intermediate_size;
  return [
    ["mlp.gate.weight", [experts, hidden]],
    ...each.flat(),
    ...(shared === undefined ? [] : gated("mlp.shared_expert", hidden, shared)),
    ...(shared === undefined ? [] : [/** @type {Tensor} */ (["mlp.shared_expert_gate.weight", [1, hidden]])]),
  ];
}

/**
 * Stacks of FP4 codes, two in a byte, with an exponent for 32 inputs.
 * @param {number} experts @param {number} hidden @param {number} intermediate @returns {Tensor[]}
 */
function expertsInMxfp4(experts, hidden, intermediate) {
  /** @param {string} name @param {number} outputs @param {number} inputs @returns {Tensor[]} */
  const stack = (name, outputs, inputs) => [
    [`mlp.experts.${name}_blocks`, [experts, outputs, inputs / 32, 16], "U8"],
    [`mlp.experts.${name}_scales`, [experts, outputs, inputs / 32], "U8"],
    [`mlp.experts.${name}_bias`, [experts, outputs]],
  ];
  return [
    ["mlp.router.weight", [experts, hidden]],
    ["mlp.router.bias", [experts]],
    ...stack("gate_up_proj", 2 * intermediate, hidden),
    ...stack("down_proj", hidden, intermediate),
  ];
}

/** @param {string} prefix @param {number} hidden @param {number} intermediate @returns {Tensor[]} */
function gated(prefix, hidden, intermediate) {
  return [
    [`${prefix}.gate_proj.weight`, [intermediate, hidden]],
    [`${prefix}.up_proj.weight`, [intermediate, hidden]],
    [`${prefix}.down_proj.weight`, [hidden, intermediate]],
  ];
}

/** @param {Shape} config */
function attentionSizes({ hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim }) {
  const headDim = head_dim ?? hidden / heads;
  return { headDim, keyValue: headDim * kvHeads };
}

/**
 * Weights of the linear layers that a token is multiplied with: of experts, those that it is sent to.
 * @param {Shape} config @returns {{ layers: number[], keysValues: number }} of each layer, and of the K and V of one alone
 */
export function weightsOfToken(config) {
  const { num_experts_per_tok: perToken = 1 } = config;
  const experts = config.num_local_experts ?? config.num_experts ?? 1;
  /** @param {Tensor} tensor */
  const weightsOf = ([name, dimensions]) => {
    if (name.endsWith("_blocks")) return 2 * perToken * dimensions.slice(1).reduce((a, b) => a * b, 1);
    if (name.includes(".experts.") && name.endsWith("_bias")) return 0;
    const [outputs = 0, inputs = 0] = dimensions.length === 2 ? dimensions : [];
    return outputs * inputs * (name.includes(".experts.") ? perToken / experts : 1);
  };
  /** @param {number} layer */
  const weightsAt = (layer) => tensorsOfLayer(config, layer).reduce((sum, tensor) => sum + weightsOf(tensor), 0);
  // All layers with attention are alike, and so are all others.
  const [attention, recurrent] = [weightsAt((config.full_attention_interval ?? 1) - 1), weightsAt(0)];
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    hasAttention(config, layer) ? attention : recurrent,
  );
  return { layers, keysValues: 2 * config.hidden_size * attentionSizes(config).keyValue };
}

/** The last layer with attention: behind it a calibration computes nothing. @param {Shape} config */
export function lastAttention(config) {
  let layer = config.num_hidden_layers - 1;
  while (layer > 0 && !hasAttention(config, layer)) layer--;
  return layer;
}
