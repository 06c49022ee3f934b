"""The goldens of multimodal models: one line each. The model is made with tiny towers, and only text goes through it.

A line names model_type and variant ("qwen2_vl-mrope"); what it gives is:

text       the decoder's config beside TINY
parts      of other configs in config.json (vision_config, ...): what differs from the small sizes that SMALL says
top        keys at the top of config.json
saved      the names before "layers." in the file that transformers saves
flat       config.v4.json has the decoder's keys at the top, as in files of transformers 4, and its rope_scaling this type
keep       keys of the decoder's config that config.v4.json says although they are transformers' defaults
released   what transformers saves before "layers.", and what released files have there
weights, neutral, inert, unreached, lengths    as in families.py; keys of `inert` are paths in the decoder's config
"""
from families import (BIASES, EXPERTS, LLAMA3, MUP, NEMOTRON_H, NEMOTRON_H_INERT, NEMOTRON_H_MOE, UNREACHED_BY_BIAS, rope,
                      types)

TINY = dict(vocab_size=72, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=None)
SMALL = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
             image_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2, d_model=16, encoder_layers=1,
             encoder_attention_heads=2, encoder_ffn_dim=16, num_layers=1, encoder_dim=16, hidden_dim=16, mlp_dim=16,
             out_hidden_size=32, text_hidden_size=32, num_mel_bins=8, vocab_size=8, max_source_positions=16,
             max_position_embeddings=64, position_embedding_size=16, num_position_embeddings=16, head_dim=8,
             encoder_hidden_size=16, num_query_tokens=2, output_dim=32, spatial_merge_size=1, text_intermediate_size=16)
OLD, NEW = "language_model.model.", "model.language_model."

# Families that stand in wrappers without naming every key.
DECODERS = ("llama", "mistral", "ministral3", "qwen2", "qwen3", "cohere2", "exaone4", "granite", "hyperclovax", "gemma", "gemma2")

WRAPPERS = {}


def wrapper(name, saved, *, text=None, parts=None, top=None, flat=None, keep=(), lengths=(3, 17, 26), weights=None,
            neutral=None, inert=None, unreached=None, released=None):
    WRAPPERS[name] = dict(model_type=name.split("-")[0], saved=saved, text=text or {}, parts=parts or {}, top=top or {},
                          flat=flat, keep=keep, lengths=lengths, weights=weights or {}, neutral=neutral or {}, inert=inert or {},
                          unreached=unreached, released=released, v4={}, stale=False, extra={}, layout=None)


ROPE = dict(rope_parameters=rope())
MROPE = dict(rope_parameters=rope(mrope_section=[1, 1, 2]))
SECTIONS = {r"rope_parameters\.mrope_section.*": "positions of text are the same in all of them",
            r"rope_parameters\.mrope_interleaved": "so that their order changes nothing"}
NO_WINDOW = {"use_sliding_window": "layer_types says it layer by layer", "max_window_layers": "layer_types says it layer by layer"}
QWEN = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=8)
GATE = r"gate\.weight"

# --- decoders of their own --------------------------------------------------------------------------------------------

wrapper("qwen2_vl-tied", "model.", text=MROPE, top=dict(tie_word_embeddings=True), flat="mrope", inert={**SECTIONS, **NO_WINDOW})
wrapper("qwen2_vl-window", "model.", text=dict(**MROPE, num_hidden_layers=3, use_sliding_window=True, sliding_window=12,
        max_window_layers=1), flat="mrope", inert={**SECTIONS, **NO_WINDOW})
wrapper("qwen2_5_vl-plain", "model.", text=MROPE, flat="mrope", inert={**SECTIONS, **NO_WINDOW})
wrapper("qwen2_5_omni-plain", "thinker.model.", text=dict(**MROPE, tie_word_embeddings=False),
        inert={**SECTIONS, **NO_WINDOW})
wrapper("qwen2_5_omni_thinker-plain", "model.", text=dict(**MROPE, tie_word_embeddings=False), inert={**SECTIONS, **NO_WINDOW})
QWEN3_VL = dict(head_dim=16, rope_parameters=rope(mrope_section=[4, 2, 2], mrope_interleaved=True))
wrapper("qwen3_vl-plain", NEW, text=QWEN3_VL, inert=SECTIONS)
wrapper("qwen3_vl-bias-tied", NEW, text=dict(**QWEN3_VL, attention_bias=True), top=dict(tie_word_embeddings=True), inert=SECTIONS)
wrapper("qwen3_vl_moe-plain", NEW, text=dict(**QWEN3_VL, **QWEN), unreached=GATE, inert={
    **SECTIONS, "intermediate_size": "no layer is without experts"})
wrapper("qwen3_vl_moe-dense-layer", NEW, text=dict(**QWEN3_VL, **QWEN, mlp_only_layers=[1], attention_bias=True), inert=SECTIONS)
wrapper("qwen3_omni_moe-plain", "thinker.model.", text=dict(**QWEN3_VL, **QWEN, norm_topk_prob=False), inert=SECTIONS)
wrapper("qwen3_omni_moe_thinker-dense-layer", "model.", text=dict(**QWEN3_VL, **QWEN, num_hidden_layers=3, mlp_only_layers=[0]),
        unreached=GATE, inert=SECTIONS)
GLM = dict(hidden_size=64, rope_parameters=rope(partial_rotary_factor=0.5, mrope_section=[1, 1, 2]))
wrapper("glm4v-plain", NEW, text=GLM, inert=SECTIONS)
wrapper("glm46v-plain", NEW, text=GLM, inert=SECTIONS)
wrapper("glm_ocr-plain", NEW, text=dict(GLM, hidden_size=32, head_dim=16), inert=SECTIONS)
wrapper("glm4v_moe-plain", NEW, text=dict(**EXPERTS, head_dim=16, n_routed_experts=6, routed_scaling_factor=1.8, rope_parameters=rope(
    partial_rotary_factor=0.5, mrope_section=[1, 1, 2])), weights=BIASES, unreached=UNREACHED_BY_BIAS, inert=SECTIONS)
wrapper("paddleocr_vl-plain", "model.", text=dict(head_dim=8, **MROPE), flat="default", inert=SECTIONS)
wrapper("paddleocr_vl-bias", "model.", text=dict(head_dim=8, use_bias=True, **MROPE), inert=SECTIONS)
ERNIE = dict(head_dim=8, moe_intermediate_size=[8, 4], moe_k=2, moe_num_experts=6, moe_norm_min=0.7, pad_token_id=0,
             mlp_layer_types=["sparse", "dense", "sparse"], num_hidden_layers=3, **MROPE)
ERNIE_INERT = {**SECTIONS, r"moe_intermediate_size\.1": "the width of experts of images",
               r".*\.vision_moe\..*": "experts of images", r".*vision_moe.*": "experts of images"}
wrapper("ernie4_5_vl_moe-plain", "model.", text=ERNIE, weights=BIASES, inert=ERNIE_INERT)
wrapper("ernie4_5_vl_moe-bias", "model.", text=dict(ERNIE, use_bias=True, moe_num_shared_experts=1), weights=BIASES, inert=ERNIE_INERT)
wrapper("hunyuan_vl-alpha", "model.", text=dict(head_dim=16, rope_parameters=rope(
    "dynamic", alpha=50.0, factor=1.0, mrope_section=[2, 2, 2, 2])), flat="xdrope", inert={
        **SECTIONS, r"rope_parameters\.factor": "alpha alone says the base"})
# transformers leaves the factor on logits out where the decoder of another family stands in a wrapper; vLLM does not.
NO_LOGITS = dict(MUP, logits_scaling=1.0)
SCALED = {"logits_scaling|logit_scale": "transformers' class for the whole model leaves it out"}
wrapper("granite4_vision-multipliers", NEW, text=dict(**MUP, attention_bias=True, mlp_bias=True, **ROPE),
        parts=dict(qformer_config=dict(num_attention_heads=2), vision_config=dict(hidden_size=64)), top=dict(deepstack_layer_map=[[-1, 0]], downsample_rate="1/4"))
wrapper("granite_docling-multipliers", "model.text_model.", text=dict(**MUP, **ROPE))
wrapper("aria-plain", OLD, text=dict(head_dim=16, moe_num_experts=6, moe_topk=2, **ROPE), unreached=r"router\.weight")
GEMMA4_INERT = {r"layer_types\.2": "the last layer sees everything in any case", "use_double_wide_mlp": "no layers share a cache",
                "vocab_size_per_layer_input": "there are no embeddings per layer"}
GEMMA4 = dict(head_dim=16, global_head_dim=16, pad_token_id=0, num_hidden_layers=3, sliding_window=12, layer_types=types("sff"), rope_parameters={
    "sliding_attention": rope(), "full_attention": rope("proportional", 5000.0, partial_rotary_factor=0.25)})
wrapper("gemma4_unified-plain", NEW, text=dict(**GEMMA4, use_bidirectional_attention="vision"), top=dict(audio_config=None), inert=GEMMA4_INERT)
wrapper("gemma4-dense", NEW, text=dict(**GEMMA4, hidden_size_per_layer_input=0), top=dict(audio_config=None), inert=GEMMA4_INERT)
wrapper("llama4-experts", OLD, text=dict(head_dim=16, intermediate_size=8, intermediate_size_mlp=24, num_local_experts=4, num_hidden_layers=2,
        no_rope_layers=[1, 0], layer_types=types("cf"), attention_chunk_size=12, floor_scale=8, attn_scale=0.5, moe_layers=[1], **ROPE),
        inert={"interleave_moe_layer_step|no_rope_layer_interval": "a list says it layer by layer"})

# --- decoders that are families --------------------------------------------------------------------------------------

LLAMA = dict(**ROPE, head_dim=16)
wrapper("llava-llama", OLD, text=dict(rope_parameters=rope("llama3", 500.0, **LLAMA3)))
wrapper("llava-mistral", OLD, text=dict(model_type="mistral", sliding_window=None, **LLAMA))
wrapper("llava_next-granite", OLD, text=dict(model_type="granite", **NO_LOGITS, tie_word_embeddings=True, **ROPE), top=dict(tie_word_embeddings=True),
        inert=SCALED)
wrapper("llava_next_video-llama", OLD, text=LLAMA)
wrapper("llava_onevision-qwen2", OLD, text=ROPE, inert=NO_WINDOW)
wrapper("vipllava-llama", OLD, text=LLAMA)
wrapper("video_llava-llama", OLD, text=LLAMA)
wrapper("mistral3-mistral", OLD, text=dict(sliding_window=None, **LLAMA), top=dict(tie_word_embeddings=False))
wrapper("mistral3-ministral3", OLD, text=dict(model_type="ministral3", head_dim=16, rope_parameters=rope(
    "yarn", 500.0, factor=4.0, original_max_position_embeddings=32, beta_fast=1.5, beta_slow=0.25, mscale=1.0, mscale_all_dim=1.0,
    llama_4_scaling_beta=0.4)), top=dict(tie_word_embeddings=False), lengths=(3, 17, 45))
wrapper("internvl-qwen2", OLD, text=ROPE, top=dict(tie_word_embeddings=False), inert=NO_WINDOW)
wrapper("internvl-qwen3", OLD, text=dict(model_type="qwen3", head_dim=16, **ROPE), top=dict(tie_word_embeddings=False), inert=NO_WINDOW)
wrapper("idefics2-mistral", "model.text_model.", text=dict(sliding_window=None, **ROPE))
wrapper("idefics3-llama", "model.text_model.", text=LLAMA)
wrapper("smolvlm-llama", "model.text_model.", text=LLAMA, top=dict(tie_word_embeddings=True))
wrapper("paligemma-gemma", OLD, text=dict(head_dim=16, **ROPE), inert={
    "num_image_tokens": "of images", "use_bidirectional_attention": "of prompts with an image: without one, tokens see earlier ones alone"})
wrapper("aya_vision-cohere2", OLD, text=dict(logit_scale=1.0, sliding_window=12, layer_types=types("sf"), **ROPE), inert=SCALED)
wrapper("cohere2_vision-cohere2", NEW, text=dict(logit_scale=1.0, sliding_window=12, layer_types=types("sf"), **ROPE),
        top=dict(alignment_intermediate_size=16), inert=SCALED)
wrapper("gemma3-gemma3", OLD, text=dict(head_dim=16, sliding_window=12, layer_types=types("sf"), query_pre_attn_scalar=7, rope_parameters={
    "sliding_attention": rope(), "full_attention": rope(rope_theta=5000.0)}), inert={"_sliding_window_pattern": "layer_types says it layer by layer"})
wrapper("exaone4_5-exaone4", NEW, text=dict(sliding_window=12, layer_types=types("sf"), **ROPE), inert={
    "sliding_window_pattern": "layer_types says it layer by layer"})
wrapper("hyperclovax_vision_v2-hyperclovax", NEW, text=dict(**MUP, head_dim=16, **ROPE))
wrapper("granite_speech-granite", OLD, text=dict(**NO_LOGITS, **ROPE), inert=SCALED)
wrapper("qwen2_audio-qwen2", OLD, text=ROPE, inert=NO_WINDOW)
wrapper("qwen3_asr-qwen3", NEW, text=dict(head_dim=16, **ROPE), inert=NO_WINDOW)
wrapper("voxtral-llama", OLD, text=LLAMA)
# The class has a rotation of its own for what the file leaves out, which would win over rope_theta.
wrapper("glmasr-llama", OLD, text=dict(head_dim=16, rope_parameters=rope(rope_theta=10000.0)), top=dict(tie_word_embeddings=False))
wrapper("audioflamingo3-qwen2", OLD, text=ROPE, inert=NO_WINDOW)
wrapper("moss_transcribe_diarize-qwen3", NEW, text=dict(head_dim=16, **ROPE), inert=NO_WINDOW)
wrapper("deepseek_vl-llama", NEW, text=LLAMA)
wrapper("got_ocr2-qwen2", OLD, text=ROPE, inert=NO_WINDOW)
wrapper("lighton_ocr-qwen3", NEW, text=dict(head_dim=16, **ROPE), inert=NO_WINDOW)
wrapper("ovis2-qwen2", NEW, text=ROPE, inert=NO_WINDOW)
wrapper("video_llama_3-qwen2", NEW, text=ROPE, inert=NO_WINDOW)
wrapper("granite_speech_plus-granite", OLD, text=dict(**NO_LOGITS, **ROPE), inert=SCALED)
wrapper("musicflamingo-qwen2", OLD, text=ROPE, inert=NO_WINDOW)
VOICE = dict(hidden_size=8, num_filters=2, downsampling_ratios=[2], depths=[1, 1])
wrapper("vibevoice_asr-qwen2", OLD, text=ROPE, inert=NO_WINDOW, parts=dict(acoustic_tokenizer_encoder_config=VOICE, semantic_tokenizer_encoder_config=VOICE))
wrapper("fun_asr_nano-qwen3", NEW, text=dict(head_dim=16, **ROPE), inert=NO_WINDOW, parts=dict(
    adaptor_config=dict(hidden_size=32, intermediate_size=8, projector_hidden_size=16), audio_config=dict(num_timestamp_prediction_layers=1, num_stacked_frames=1)))
wrapper("deepseek_vl_hybrid-llama", NEW, text=LLAMA, parts=dict(high_res_vision_config=dict(output_channels=16, num_pos_feats=8)))
wrapper("janus-llama", NEW, text=LLAMA, parts=dict(vision_config=dict(projection_dim=32), vq_config=dict(
    num_embeddings=8, latent_channels=8, base_channels=32, channel_multiplier=[1], num_res_blocks=1, projection_dim=32, image_token_embed_dim=8)))
# transformers reads the released names, and saves others.
wrapper("qianfan_ocr-qwen3", OLD, text=dict(head_dim=16, **ROPE), inert=NO_WINDOW, released=("language_model.model.encoder.", OLD))

# --- decoders that are hybrids ----------------------------------------------------------------------------------------

QWEN3_5 = dict(head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8,
               layer_types=["linear_attention", "full_attention"], rope_parameters=rope(partial_rotary_factor=0.5, mrope_section=[2, 1, 1],
                                                                                       mrope_interleaved=True))
wrapper("qwen3_5-plain", NEW, text=QWEN3_5, inert=SECTIONS)
wrapper("qwen3_5_moe-tied", NEW, text=dict(**QWEN3_5, **QWEN, shared_expert_intermediate_size=16), top=dict(tie_word_embeddings=True),
        unreached=GATE, inert=SECTIONS)
wrapper("minicpmv4_6-qwen3_5", NEW, text=QWEN3_5, inert=SECTIONS)
wrapper("lfm2_vl-lfm2", NEW, text=dict(layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False, **ROPE), inert={
    "block_ffn_dim_multiplier|block_multiple_of": "block_auto_adjust_ff_dim is off"})
NEMOTRON_H_OMNI = {key: value for key, value in {**NEMOTRON_H, **NEMOTRON_H_MOE}.items() if key not in ("weights", "neutral")}
wrapper("nemotron_h_omni-moe", "language_model.backbone.", text=dict(
    **NEMOTRON_H_OMNI, num_hidden_layers=4, layers_block_type=["linear_attention", "mlp", "full_attention", "moe"]),
        parts=dict(vision_config=dict(layer_norm_eps=1e-6)), top=dict(projector_hidden_size=16, vision_hidden_size=16),
        weights=NEMOTRON_H["weights"], neutral=NEMOTRON_H["neutral"], unreached=UNREACHED_BY_BIAS, inert=NEMOTRON_H_INERT)
