// The shapes that checkpoints are made in: config.json, the tensors of a layer, and the arithmetic of a token. Knows no bytes
// and no file.

/** @typedef {[name: string, shape: number[]]} Tensor */

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
 * @property {number} [num_experts_per_tok]
 * @property {number} [moe_intermediate_size]
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
  const { headDim, keyValue } = attentionSizes(config);
  const inner = headDim * config.num_attention_heads;
  const isLlama = type === "llama";
  /** @type {Tensor[]} */
  const tensors = [
    ...(type === "gemma3_text" ? GEMMA_NORMS : NORMS).map((norm) => /** @type {Tensor} */ ([norm, [hidden]])),
    ["self_attn.q_proj", [inner, hidden]],
    ["self_attn.k_proj", [keyValue, hidden]],
    ["self_attn.v_proj", [keyValue, hidden]],
    ["self_attn.o_proj", [hidden, inner]],
    ...(isLlama ? [] : ["q_norm", "k_norm"]).map((norm) => /** @type {Tensor} */ ([`self_attn.${norm}`, [headDim]])),
    ...feedForwardOf(config),
  ];
  return tensors.map(([name, dimensions]) => [`model.layers.${layer}.${name}.weight`, dimensions]);
}

/** @param {Shape} config @returns {Tensor[]} */
function feedForwardOf({ hidden_size: hidden, intermediate_size: intermediate, ...config }) {
  const { num_experts: experts = 0, moe_intermediate_size: ofExpert = 0 } = config;
  if (experts === 0) return gated("mlp", hidden, intermediate);
  const each = Array.from({ length: experts }, (_, expert) => gated(`mlp.experts.${expert}`, hidden, ofExpert));
  return [["mlp.gate", [experts, hidden]], ...each.flat()];
}

/** @param {string} prefix @param {number} hidden @param {number} intermediate @returns {Tensor[]} */
function gated(prefix, hidden, intermediate) {
  return [
    [`${prefix}.gate_proj`, [intermediate, hidden]],
    [`${prefix}.up_proj`, [intermediate, hidden]],
    [`${prefix}.down_proj`, [hidden, intermediate]],
  ];
}

/** @param {Shape} config */
function attentionSizes({ hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim }) {
  const headDim = head_dim ?? hidden / heads;
  return { headDim, keyValue: headDim * kvHeads };
}

/**
 * Weights of the linear layers that a token is multiplied with: of experts, those that it is sent to.
 * @param {Shape} config @returns {{ layer: number, keysValues: number }} of a layer, and of its K and V alone
 */
export function weightsOfToken(config) {
  const { num_experts: experts = 1, num_experts_per_tok: perToken = 1 } = config;
  let layer = 0;
  for (const [name, [outputs = 0, inputs = 0]] of tensorsOfLayer(config, 0)) {
    layer += outputs * inputs * (name.includes(".experts.") ? perToken / experts : 1);
  }
  return { layer, keysValues: 2 * config.hidden_size * attentionSizes(config).keyValue };
}
