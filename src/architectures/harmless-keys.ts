// Keys of config.json that change no K, V or logit in any family, each with the reason; some only with some values. A
// key that the family did not read and that is not listed here is refused. Knows no family.

interface Harmless {
  readonly reason: string;
  /** Values that are harmless; absent: any. */
  readonly when?: (value: unknown) => boolean;
}

const is =
  (...values: readonly unknown[]) =>
  (value: unknown) =>
    values.includes(value);

const training = (reason: string): Harmless => ({ reason: `training only: ${reason}` });
const neutral = (value: unknown): Harmless => ({ reason: "this value changes nothing", when: is(value) });
const NEXT_TOKENS: Harmless = { reason: "of layers that predict further tokens, which change no other" };
const PICTURES: Harmless = { reason: "of pictures: prompts are text" };
const TOKEN: Harmless = { reason: "the id of a token: prompts come from the tokenizer" };
const GENERATION: Harmless = { reason: "a default of generation" };
const NOT_TEXT: Harmless = { reason: "of images and sound: prompts are text" };
const PROVENANCE: Harmless = { reason: "says where the checkpoint comes from" };
const RUNNER: Harmless = { reason: "how the original code ran" };
const BY_TENSORS: Harmless = { reason: "seen in the tensors: one that the description has no place for is refused" };

export const HARMLESS: Readonly<Record<string, Harmless>> = {
  _name_or_path: PROVENANCE,
  _commit_hash: PROVENANCE,
  architectures: PROVENANCE,
  transformers_version: PROVENANCE,
  unsloth_version: PROVENANCE,
  unsloth_fixed: PROVENANCE,
  model_name: PROVENANCE,
  finetuning_task: PROVENANCE,
  is_llama_config: PROVENANCE,
  "transformers.js_config": { reason: "how another program loads the checkpoint" },
  auto_map: { reason: "names code, which is never run" },
  custom_pipelines: { reason: "names code, which is never run" },

  time_step_limit: { reason: "of Mamba's layers, which no family has" },

  torch_dtype: { reason: "the type of weights is read from the tensors" },
  dtype: { reason: "the type of weights is read from the tensors" },
  kv_cache_torch_dtype: { reason: "the type of the FP8 cache, read where scales are" },

  bos_token_id: TOKEN,
  eos_token_id: TOKEN,
  pad_token_id: TOKEN,
  sep_token_id: TOKEN,
  unk_token_id: TOKEN,
  mask_token_id: TOKEN,
  decoder_start_token_id: TOKEN,
  image_token_id: TOKEN,
  image_token_index: TOKEN,
  boi_token_index: TOKEN,
  eoi_token_index: TOKEN,
  boi_token_id: TOKEN,
  eoi_token_id: TOKEN,
  boa_token_id: TOKEN,
  eoa_token_id: TOKEN,
  eoa_token_index: TOKEN,
  video_token_id: TOKEN,
  audio_token_id: TOKEN,
  vision_start_token_id: TOKEN,
  vision_end_token_id: TOKEN,
  vision_token_id: TOKEN,
  tokenizer_class: { reason: "prompts come from tokenizer.json" },

  use_cache: GENERATION,
  cache_implementation: { reason: "how transformers keeps its cache: the numbers are the same" },
  temperature: GENERATION,
  top_k: GENERATION,
  top_p: GENERATION,
  typical_p: GENERATION,
  do_sample: GENERATION,
  num_beams: GENERATION,
  max_length: GENERATION,
  min_length: GENERATION,
  repetition_penalty: GENERATION,
  length_penalty: GENERATION,
  no_repeat_ngram_size: GENERATION,
  num_return_sequences: GENERATION,
  num_beam_groups: GENERATION,
  diversity_penalty: GENERATION,
  encoder_no_repeat_ngram_size: GENERATION,
  task_specific_params: GENERATION,
  forced_bos_token_id: GENERATION,
  forced_eos_token_id: GENERATION,
  bad_words_ids: GENERATION,
  begin_suppress_tokens: GENERATION,
  suppress_tokens: GENERATION,

  initializer_range: training("the first weights"),
  initializer_factor: training("the first weights"),
  init_std: training("the first weights"),
  attention_dropout: training("dropout"),
  attn_dropout: training("dropout"),
  attn_pdrop: training("dropout"),
  resid_pdrop: training("dropout"),
  residual_dropout: training("dropout"),
  embd_pdrop: training("dropout"),
  embedding_dropout: training("dropout"),
  hidden_dropout: training("dropout"),
  hidden_dropout_prob: training("dropout"),
  classifier_dropout: training("dropout"),
  ffn_dropout: training("dropout"),
  dropout: training("dropout"),
  activation_dropout: training("dropout"),
  layerdrop: training("dropout"),
  gradient_checkpointing: training("memory"),
  router_aux_loss_coef: training("a loss"),
  router_jitter_noise: training("noise"),
  output_router_logits: { reason: "an output beside the logits" },
  output_attentions: { reason: "an output beside the logits" },
  output_hidden_states: { reason: "an output beside the logits" },
  return_dict: { reason: "the form of an output" },
  id2label: { reason: "names of classes" },
  label2id: { reason: "names of classes" },
  num_labels: { reason: "a head for classes" },
  vision_config: NOT_TEXT,
  audio_config: NOT_TEXT,
  mm_tokens_per_image: NOT_TEXT,
  vision_soft_tokens_per_image: NOT_TEXT,
  audio_soft_tokens_per_image: NOT_TEXT,
  problem_type: { reason: "a head for classes" },
  chunk_size_feed_forward: { reason: "the same sums, in pieces" },
  pretraining_tp: { reason: "the same sums, in pieces" },
  _attn_implementation: { reason: "the same sums, by another kernel" },
  attn_implementation: { reason: "the same sums, by another kernel" },
  _attn_implementation_autoset: { reason: "the same sums, by another kernel" },
  use_flash_attn: { reason: "the same sums, by another kernel" },
  max_position_embeddings: { reason: "limits prompts; a rotation that depends on it reads it" },
  model_max_length: { reason: "limits prompts" },
  seq_length: { reason: "limits prompts" },
  tie_word_embeddings: { reason: "read where logits are computed" },

  attention_bias: BY_TENSORS,
  attention_out_bias: BY_TENSORS,
  qkv_bias: BY_TENSORS,
  mlp_bias: BY_TENSORS,
  use_bias: BY_TENSORS,

  eod_token_id: TOKEN,
  pad_id: TOKEN,
  im_start_id: TOKEN,
  im_end_id: TOKEN,
  im_newline_id: TOKEN,
  text_start_id: TOKEN,
  text_end_id: TOKEN,
  mask_init_id: TOKEN,
  video_start_id: TOKEN,
  video_end_id: TOKEN,
  class_num: { reason: "a head for classes" },
  dense_list: { reason: "a head for classes" },
  pool_type: { reason: "a head for classes" },
  add_classification_head: { reason: "a head for classes" },
  summary_activation: { reason: "a head for classes" },
  summary_proj_to_labels: { reason: "a head for classes" },
  summary_type: { reason: "a head for classes" },
  summary_use_proj: { reason: "a head for classes" },
  inference_runner: RUNNER,
  max_batch_size: RUNNER,
  max_sequence_length: RUNNER,
  runner_max_sequence_length: RUNNER,
  pad_key_length: RUNNER,
  pre_allocate_kv_cache: RUNNER,
  validate_runner_input: RUNNER,
  load_balance_coeff: training("a loss"),
  use_grouped_mm: { reason: "the same sums, by another kernel" },
  emb_pdrop: training("dropout"),
  expert_dropout: training("dropout"),
  input_jitter_noise: training("jitter"),
  summary_first_dropout: training("dropout"),
  attention_probs_dropout_prob: training("dropout"),
  attention_softmax_in_fp32: { reason: "the type of a sum: a softmax is computed in float32 here" },
  scale_attention_softmax_in_fp32: { reason: "the type of a sum: a softmax is computed in float32 here" },
  internal_version: PROVENANCE,
  org_vocab_size: { reason: "rows of the embedding that training used" },
  n_ctx: { reason: "limits prompts" },
  prefix: GENERATION,
  n_positions: { reason: "limits prompts" },
  bias: BY_TENSORS,

  is_decoder: neutral(true),
  is_causal: neutral(true),
  is_encoder_decoder: neutral(false),
  position_embedding_type: neutral("rope"),
  rope_interleaved: neutral(false),
  partial_rotary_factor: neutral(1),
  embedding_multiplier: neutral(1),
  residual_multiplier: neutral(1),
  logits_scaling: neutral(1),
  logit_scale: neutral(1),
  lm_head_multiplier: neutral(1),
  scale_emb: neutral(1),

  num_nextn_predict_layers: NEXT_TOKENS,
  num_mtp_layers: NEXT_TOKENS,
  num_mtp_modules: NEXT_TOKENS,
  mtp_transformer_layers: NEXT_TOKENS,
  use_mtp: NEXT_TOKENS,
  mtp_share_layers: NEXT_TOKENS,
  mtp_loss_scaling_factor: NEXT_TOKENS,
  vit_type: PICTURES,
  vit_patch: PICTURES,
  vit_path: PICTURES,
  vit_token: PICTURES,
  vit_norm_type: PICTURES,
  vit_mapping_type: PICTURES,
  vit_input_resolution: PICTURES,
  vit_remove_prenorm: PICTURES,
  vit_used_rms_norm: PICTURES,
  vit_add_patchemb_bias: PICTURES,
  anyres_pooling_size: PICTURES,
  anyres_vit_max_image_size: PICTURES,
  anyres_vit_two_views: PICTURES,
  num_media_embeds: PICTURES,
  moe_random_routing_dropped_token: training("a limit of tokens per expert"),
  moe_drop_tokens: training("a limit of tokens per expert"),
};

/** Why an unread key changes nothing; undefined when it may. @param path with dots for nested objects */
export function whyHarmless(path: string, value: unknown): string | undefined {
  // The decoder's config inside a multimodal one has the same keys, and so have RoPE parameters.
  const key = Object.hasOwn(HARMLESS, path) ? path : path.slice(path.lastIndexOf(".") + 1);
  const entry = Object.hasOwn(HARMLESS, key) ? HARMLESS[key] : undefined;
  if (entry === undefined || entry.when?.(value) === false) return undefined;
  return entry.reason;
}
