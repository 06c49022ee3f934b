// Keys of a multimodal model's config.json around the config of its text decoder, which change no K, V or logit of a
// prompt of text, each with the reason. Knows no wrapper.

const TOWER = "of images and sound: prompts are text";
const TOKEN = "the id of a token: prompts come from the tokenizer";
const VOICE = "of the parts that speak: they read what the decoder computes";
const COPY = "the decoder's own config says it";

/** By key, at the top, and in the config of a part that has the decoder, such as a thinker's. */
const WRAPPER_KEYS: Readonly<Record<string, string>> = {
  ...reasonOf(TOWER, ["encoder_config", "projector_config", "qformer_config", "perceiver_config", "adaptor_config"]),
  ...reasonOf(TOWER, ["sound_config"]),
  ...reasonOf(TOWER, ["high_res_vision_config", "vq_config", "visual_tokenizer_config", "vision_start_token"]),
  ...reasonOf(TOWER, ["acoustic_tokenizer_encoder_config", "semantic_tokenizer_encoder_config"]),
  ...reasonOf(TOWER, ["multimodal_projector_bias", "projector_bias", "projector_dropout", "projector_hidden_act"]),
  ...reasonOf(TOWER, [
    "projector_hidden_size",
    "projector_layernorm_eps",
    "projector_patch_to_query_dict",
    "projector_pooling_ratio",
  ]),
  ...reasonOf(TOWER, ["max_value_projector_patch_to_query_dict", "projection_dim", "adapter_layer_norm_eps"]),
  ...reasonOf(TOWER, ["alignment_intermediate_size", "downsample_factor", "downsample_rate", "downsample_ratio"]),
  ...reasonOf(TOWER, ["image_grid_pinpoints", "image_seq_length", "video_seq_length"]),
  ...reasonOf(TOWER, ["scale_factor", "spatial_merge_size", "spatial_pool_mode", "spatial_pool_stride"]),
  ...reasonOf(TOWER, ["spatial_target_layers", "spatial_vision_layer", "deepstack_layer_map"]),
  ...reasonOf(TOWER, ["use_image_newline_parameter", "vision_aspect_ratio", "vision_use_cls_token"]),
  ...reasonOf(TOWER, ["vision_feature_layer", "vision_feature_layers", "vision_feature_select_strategy"]),
  ...reasonOf(TOWER, ["density_router_hidden_size", "density_router_loss_weight", "density_router_threshold"]),
  ...reasonOf(TOWER, ["acoustic_tokenizer_chunk_size", "audio_chunk_size", "audio_frame_step", "audio_merge_size"]),
  ...reasonOf(TOWER, ["window_size", "position_id_per_seconds", "seconds_per_chunk", "audio_rotary_dim"]),
  ...reasonOf(TOWER, ["force_image_size", "dynamic_image_size", "use_thumbnail", "pad2square", "select_layer"]),
  ...reasonOf(TOWER, ["max_dynamic_patch", "min_dynamic_patch", "image_fold", "ps_version"]),
  ...reasonOf(TOWER, ["downsample_mode", "drop_vision_last_layer", "image_size", "insert_layer_id", "patch_size"]),
  ...reasonOf(TOWER, ["merge_kernel_size", "merger_times", "projector_use_layernorm"]),
  ...reasonOf(TOWER, ["vision_hidden_size", "vit_hidden_size", "video_pruning_rate", "video_temporal_patch_size"]),
  ...reasonOf(TOWER, ["norm_mean", "norm_std"]),
  has_lora_adapter: "of an adapter that only prompts with sound use",

  ...reasonOf(TOKEN, ["image_start_token_id", "image_end_token_id", "video_start_token_id", "video_end_token_id"]),
  ...reasonOf(TOKEN, ["audio_start_token_id", "audio_end_token_id", "audio_bos_token_id", "audio_eos_token_id"]),
  ...reasonOf(TOKEN, ["audio_token_index", "video_token_index", "im_start_token_id", "im_end_token_id"]),
  ...reasonOf(TOKEN, ["user_token_id", "system_token_id", "assistant_token_id", "timestamp_token_id"]),
  ...reasonOf(TOKEN, ["tts_bos_token_id", "tts_eos_token_id", "tts_pad_token_id", "visual_indicator_token_ids"]),
  ...reasonOf(TOKEN, ["img_context_token_id", "video_context_token_id", "sound_context_token_id"]),
  ...reasonOf(TOKEN, ["img_context_token", "img_start_token", "img_end_token", "video_context_token"]),
  ...reasonOf(TOKEN, ["sound_context_token"]),
  ...reasonOf(TOKEN, ["_pad_token_id", "visual_token_id", "visual_token_index"]),
  ...reasonOf(TOKEN, ["image_start_id", "image_end_id", "newline_id", "slice_start_id", "slice_end_id"]),
  ignore_index: "training only: a loss",
  token_classification_bias: "a head for classes",

  ...reasonOf(VOICE, ["talker_config", "token2wav_config", "code2wav_config", "enable_audio_output", "enable_talker"]),

  ...reasonOf(COPY, ["vocab_size", "hidden_size", "head_dim"]),
  model_type: "the model that has the decoder",
  rope_parameters: "of sound: that of the decoder stands in its own config",

  system_message: "prompts come from the chat template",
  template: "prompts come from the chat template",
  use_backbone_lora: "training only: adapters, which are merged",
  use_llm_lora: "training only: adapters, which are merged",
};

function reasonOf(reason: string, keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(keys.map((key) => [key, reason]));
}

/**
 * Why an unread key beside the decoder's config changes nothing; undefined when it may, or is not beside it.
 * @param decoderPath undefined where the decoder's own keys stand beside those of the wrapper
 */
export function whyHarmlessAround(path: string, decoderPath = ""): string | undefined {
  const outer = decoderPath.slice(0, decoderPath.lastIndexOf(".") + 1);
  const key = path.startsWith(outer) ? path.slice(outer.length) : path;
  return Object.hasOwn(WRAPPER_KEYS, key) ? WRAPPER_KEYS[key] : undefined;
}
