// Defaults of transformers' configuration classes for decoders of multimodal models, by model_type. Their part of
// config.json leaves out what equals the default, where that of a text model has every key. Holds only what a family
// does not take by itself for an absent key.

const QWEN2_VL = {
  ...{ vocab_size: 152_064, hidden_size: 8192, intermediate_size: 29_568, num_hidden_layers: 80 },
  ...{ num_attention_heads: 64, num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_theta: 1_000_000 },
  max_window_layers: 80,
};

const GRANITE = {
  ...{ vocab_size: 32_000, hidden_size: 4096, intermediate_size: 11_008, num_hidden_layers: 32 },
  num_attention_heads: 32,
};

const GLM4V = {
  ...{ vocab_size: 151_552, hidden_size: 4096, intermediate_size: 13_696, num_hidden_layers: 40 },
  num_attention_heads: 32,
};

/** What the classes of these two fill in, whatever the decoder's own class says. */
export const VOXTRAL = {
  ...{ vocab_size: 131_072, hidden_size: 3072, intermediate_size: 8192, num_hidden_layers: 30 },
  ...{ num_key_value_heads: 8, head_dim: 128, rms_norm_eps: 1e-5, rope_theta: 100_000_000 },
};
export const GLM_ASR = {
  ...{ vocab_size: 59_264, hidden_size: 2048, intermediate_size: 6144, num_hidden_layers: 28 },
  ...{ num_attention_heads: 16, num_key_value_heads: 4, rms_norm_eps: 1e-5 },
  rope_parameters: { rope_theta: 10_000, rope_type: "default" },
};

export const TEXT_DEFAULTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llama: GRANITE,
  mistral: { ...GRANITE, intermediate_size: 14_336 },
  ministral3: {
    ...{ vocab_size: 131_072, hidden_size: 4096, intermediate_size: 14_336, num_hidden_layers: 34 },
    num_attention_heads: 32,
  },
  qwen2: { ...GRANITE, vocab_size: 151_936, intermediate_size: 22_016 },
  qwen3: { ...GRANITE, vocab_size: 151_936, intermediate_size: 22_016 },
  cohere2: {
    ...{ vocab_size: 256_000, hidden_size: 8192, intermediate_size: 22_528, num_hidden_layers: 40 },
    num_attention_heads: 64,
  },
  exaone4: { ...GRANITE, vocab_size: 102_400, intermediate_size: 16_384 },
  granite: GRANITE,
  hyperclovax: { ...GRANITE, use_post_norm: true },

  nemotron_h: {
    ...{ hybrid_override_pattern: "ME*-", n_routed_experts: 8, num_experts_per_tok: 2 },
    ...{ moe_intermediate_size: 7688, moe_shared_expert_intermediate_size: 7688 },
  },

  qwen2_vl_text: QWEN2_VL,
  qwen2_5_vl_text: QWEN2_VL,
  qwen2_5_omni_text: {
    ...{ vocab_size: 152_064, hidden_size: 3584, intermediate_size: 18_944, num_hidden_layers: 28 },
    ...{ num_attention_heads: 28, num_key_value_heads: 4, rope_theta: 1_000_000, tie_word_embeddings: true },
    sliding_window: 32_768,
  },
  qwen3_vl_text: { ...GRANITE, vocab_size: 151_936, intermediate_size: 22_016, rope_theta: 500_000 },
  qwen3_vl_moe_text: {
    ...{ vocab_size: 151_936, hidden_size: 2048, intermediate_size: 5632, num_hidden_layers: 24 },
    ...{ num_attention_heads: 16, num_key_value_heads: 16, rope_theta: 500_000, tie_word_embeddings: true },
    ...{ moe_intermediate_size: 1408, num_experts_per_tok: 4 },
  },
  qwen3_omni_moe_text: {
    ...{ vocab_size: 3584, hidden_size: 2048, intermediate_size: 18_944, num_hidden_layers: 28 },
    ...{ num_attention_heads: 28, num_key_value_heads: 4, rope_theta: 1_000_000, norm_topk_prob: true },
    ...{ moe_intermediate_size: 768, num_experts_per_tok: 8 },
  },
  glm4v_text: GLM4V,
  glm_ocr_text: {
    ...{ vocab_size: 59_392, hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 16 },
    ...{ num_attention_heads: 16, num_key_value_heads: 8 },
  },
  glm4v_moe_text: {
    ...{ vocab_size: 151_424, hidden_size: 4096, intermediate_size: 10_944, num_hidden_layers: 46 },
    ...{ num_attention_heads: 96, attention_bias: true, moe_intermediate_size: 1408, num_experts_per_tok: 8 },
  },
  paddleocr_vl_text: {
    ...{ vocab_size: 103_424, hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 18 },
    num_attention_heads: 16,
  },
  ernie4_5_vl_moe_text: {
    ...{ vocab_size: 103_424, hidden_size: 2560, intermediate_size: 12_288, num_hidden_layers: 28 },
    num_attention_heads: 20,
  },
  hunyuan_vl_text: { ...GRANITE, vocab_size: 290_943, tie_word_embeddings: true },
  granite4_vision_text: GRANITE,
  granite_docling_text: {
    ...{ vocab_size: 133_800, hidden_size: 1024, intermediate_size: 2048, num_hidden_layers: 28 },
    ...{ num_attention_heads: 16, num_key_value_heads: 4, rms_norm_eps: 1e-5, tie_word_embeddings: true },
    ...{ embedding_multiplier: 12, logits_scaling: 4, residual_multiplier: 0.263, attention_multiplier: 0.015625 },
  },
  qwen3_5_text: { vocab_size: 248_320, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 16 },
  qwen3_5_moe_text: {
    ...{ vocab_size: 248_320, hidden_size: 2048, num_hidden_layers: 40, num_attention_heads: 16 },
    ...{ moe_intermediate_size: 512, num_experts_per_tok: 8 },
  },
  lfm2: { vocab_size: 65_536, intermediate_size: 12_288 },
  llama4_text: {
    ...{ vocab_size: 202_048, hidden_size: 5120, intermediate_size: 8192, num_hidden_layers: 48 },
    ...{ num_attention_heads: 40, num_local_experts: 16, num_experts_per_tok: 1 },
  },
  gemma4_unified_text: { hidden_size_per_layer_input: 0, sliding_window: 1024 },
  aria_text: { ...GRANITE, intermediate_size: 4096, moe_num_experts: 8, moe_topk: 2 },
};
