"""The goldens of the families: one line each, and what a line says that its model needs.

A line names model_type and variant ("phi3-longrope-long"); what it gives is the config beside TINY, and:

lengths    of the prompts
weights    name pattern -> how its tensors are made of normal numbers r, where the usual way hides something
neutral    name pattern -> the value at which a tensor counts as taken away, where it is not the one it starts with
inert      pattern of a tensor's name or of a key in config.json -> why it changes nothing
unreached  name pattern of the routers: the last expert of the first one is to stay without tokens
extra      tensors that a released checkpoint holds besides: names and shapes
v4         how config.json differs in the dialect that people have: rope (a function), rename, drop, add, type_key
layout     state_dict, config -> the tensors as a released checkpoint names and cuts them, where transformers saves others
stale      the checkpoint also holds K, V and K norms of the layers that share those of another, as released ones do
"""
from transformers import AutoConfig

TINY = dict(vocab_size=72, hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
            pad_token_id=None)
EPSILONS = ("rms_norm_eps", "layer_norm_eps", "norm_epsilon", "norm_eps", "layer_norm_epsilon")
SLIDING, FULL, CHUNKED, LINEAR, CONV = "sliding_attention", "full_attention", "chunked_attention", "linear_attention", "conv"

FAMILIES = {}


def golden(name, *, lengths=(3, 17, 45, 26, 33), weights=None, neutral=None, inert=None, unreached=None, v4=None,
           stale=False, extra=None, layout=None, theta=1000.0, **config):
    model_type = name.split("-")[0]
    default = AutoConfig.for_model(model_type)
    base = {default.attribute_map.get(key, key): value for key, value in TINY.items() if hasattr(default, key)}
    base.update({key: 1e-3 for key in EPSILONS if hasattr(default, key)})
    if theta and "rope_theta" in (getattr(default, "rope_parameters", None) or {}):
        base["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    FAMILIES[name] = dict(model_type=model_type, config={**base, **config}, lengths=lengths, weights=weights or {},
                          neutral=neutral or {}, inert=inert or {}, unreached=unreached, v4=v4 or {}, stale=stale, extra=extra or {},
                          layout=layout)


def rope(rope_type="default", rope_theta=1000.0, **keys):
    return {"rope_type": rope_type, "rope_theta": rope_theta, **keys}


def types(letters):
    """"sfclv": sliding, full, chunked, linear attention, convolution, layer by layer"""
    return [{"s": SLIDING, "f": FULL, "c": CHUNKED, "l": LINEAR, "v": CONV}[letter] for letter in letters]


# --- dense ------------------------------------------------------------------------------------------------------------

YARN = dict(factor=4.0, original_max_position_embeddings=32, beta_fast=1.5, beta_slow=0.25)
LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
MUP = dict(embedding_multiplier=3.0, logits_scaling=1.7, residual_multiplier=0.6, attention_multiplier=0.4)
LONG = dict(original_max_position_embeddings=32, short_factor=[1.0, 1.3, 1.9, 2.6], long_factor=[1.5, 3.1, 4.7, 6.2])
BY_LAYER = {key: "a list says it layer by layer" for key in (
    "no_rope_layer_interval", "sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers")}

PHI3 = {"original_max_position_embeddings": "without longrope"}
PHI3_LONG = {r"rope_parameters\.original_max_position_embeddings": "the one beside rope_parameters wins"}
PHI3_V4 = dict(type_key="type", drop_rope=["original_max_position_embeddings"])

golden("arcee-plain", head_dim=16)
golden("arcee-bias-yarn", head_dim=16, attention_bias=True, mlp_bias=True, rope_parameters=rope("yarn", 500.0, **YARN))
golden("cwm-window", head_dim=16, sliding_window=12, layer_types=types("fss"), rope_parameters=rope("llama3", 500.0, **LLAMA3))
golden("granite-multipliers", **MUP, attention_bias=True, mlp_bias=True)
golden("granite-tied", **MUP, tie_word_embeddings=True)
golden("olmo2-plain")
golden("olmo2-bias", attention_bias=True)
golden("phi3-plain", inert=PHI3)
golden("phi3-window", sliding_window=12, inert=PHI3)
golden("phi3-longrope-short", lengths=(3, 17, 30, 26, 32), rope_parameters=rope("longrope", **LONG),
       original_max_position_embeddings=32, v4=PHI3_V4,
       inert={**PHI3_LONG, r"rope_parameters\.long_factor\..*": "no prompt is that long"})
golden("phi3-longrope-long", lengths=(45, 17, 3, 32, 33), rope_parameters=rope("longrope", **LONG),
       original_max_position_embeddings=32, v4=PHI3_V4, inert=PHI3_LONG)
golden("phi3-partial-longrope", hidden_size=48, num_attention_heads=3, num_key_value_heads=1, lengths=(45, 17, 3, 32, 33), original_max_position_embeddings=32,
       rope_parameters=rope("longrope", **{**LONG, "partial_rotary_factor": 0.5}), tie_word_embeddings=True,
       v4=PHI3_V4, inert=PHI3_LONG)
golden("cohere-plain", logit_scale=0.3, tie_word_embeddings=True)
golden("cohere-qk-norm", logit_scale=0.3, use_qk_norm=True, attention_bias=True)
golden("starcoder2-window", sliding_window=12)
golden("starcoder2-no-bias", use_bias=False)
SMOLLM3 = {**BY_LAYER, "use_sliding_window": "layer_types says it layer by layer"}
golden("smollm3-nope", num_hidden_layers=4, no_rope_layers=[1, 0, 1, 0], inert=SMOLLM3)
golden("smollm3-window", num_hidden_layers=4, no_rope_layers=[1, 0, 1, 0], use_sliding_window=True, sliding_window=12,
       attention_bias=True, mlp_bias=True, tie_word_embeddings=False, inert=SMOLLM3)
golden("seed_oss-bias", head_dim=16, attention_out_bias=True, mlp_bias=True)
golden("seed_oss-released", head_dim=16, attention_out_bias=False)
golden("glm-bias", head_dim=16, rope_parameters=rope(partial_rotary_factor=0.5))
golden("glm-no-bias", head_dim=16, attention_bias=False, rope_parameters=rope(partial_rotary_factor=0.5))
golden("glm4-bias", head_dim=16, rope_parameters=rope(partial_rotary_factor=0.5))
golden("glm4-no-bias", head_dim=16, attention_bias=False, rope_parameters=rope(partial_rotary_factor=0.5))
golden("olmo-clip", clip_qkv=3.5)
golden("olmo-plain", attention_bias=True)
golden("olmo3-window-yarn", num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1, sliding_window=12, layer_types=types("ssfs"), rope_parameters={
    SLIDING: rope(), FULL: rope("yarn", 500.0, **YARN)})
golden("olmo3-plain", num_hidden_layers=4, sliding_window=12, layer_types=types("ssfs"), rope_parameters={
    SLIDING: rope(), FULL: rope()})
golden("exaone4-window", num_hidden_layers=4, sliding_window=12, layer_types=types("sfsf"), inert=BY_LAYER,
       v4=dict(add={"sliding_window_pattern": "LG"}))
golden("exaone4-full", sliding_window=None, layer_types=types("fff"), inert=BY_LAYER,
       rope_parameters=rope("llama3", 500.0, **LLAMA3))
COHERE2_V4 = dict(drop=["layer_types"], add={"sliding_window_pattern": 2})
golden("cohere2-window", num_hidden_layers=4, sliding_window=12, layer_types=types("sfsf"), v4=COHERE2_V4, logit_scale=0.3)
golden("cohere2-bias", num_hidden_layers=4, sliding_window=12, layer_types=types("sfsf"), v4=COHERE2_V4, logit_scale=0.3, attention_bias=True)
golden("hunyuan_v1_dense-alpha", head_dim=16, rope_parameters=rope(
    "dynamic", alpha=50.0, factor=1.0, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0), v4=dict(type_key="type"),
       inert={r"rope_parameters\.(factor|beta_fast|beta_slow|mscale|mscale_all_dim)": "alpha alone says the base"})
golden("hunyuan_v1_dense-bias", head_dim=16, attention_bias=True)
golden("ministral3-yarn", head_dim=16, sliding_window=None, rope_parameters=rope(
    "yarn", 500.0, **YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.4))
golden("ministral3-window", head_dim=16, sliding_window=12, rope_parameters=rope(
    "yarn", 500.0, **YARN, mscale=1.0, mscale_all_dim=0.5, llama_4_scaling_beta=0.4))
golden("granite_swa-sinks", **MUP, num_hidden_layers=4, sliding_window=12, layer_types=types("fssf"),
       layer_rope_theta=[1000.0, 300.0, 1000.0, 0.0], inert={
           r"rope_parameters\.rope_theta": "layer_rope_theta says it layer by layer"}, attention_bias=True, mlp_bias=True)
golden("hyperclovax-post-norm", **MUP, head_dim=16, attention_bias=True, mlp_bias=True)
golden("hyperclovax-plain", **MUP, head_dim=16, use_post_norm=False)
golden("ernie4_5-bias", head_dim=16, use_bias=True)
golden("ernie4_5-plain", head_dim=16)
golden("ministral-window", head_dim=16, sliding_window=12, layer_types=types("sfs"))
golden("ministral-all-slide", head_dim=16, sliding_window=12, v4=dict(drop=["layer_types"]))
INTERNLM3_V4 = dict(rename={"attention_bias": "qkv_bias", "mlp_bias": "bias"})
golden("internlm3-dynamic", head_dim=16, lengths=(45, 17, 3, 32, 33), max_position_embeddings=32, v4=INTERNLM3_V4,
       rope_parameters=rope("dynamic", factor=6.0))
golden("internlm3-bias", head_dim=16, attention_bias=True, mlp_bias=True, v4=INTERNLM3_V4)
golden("iquestcoder-plain", head_dim=16)
golden("iquestcoder-bias", head_dim=16, attention_bias=True, mlp_bias=True)

# --- Gemma ------------------------------------------------------------------------------------------------------------


def two_thetas(c, rope):
    """Gemma 3 before transformers 5: theta and scaling of the full layers, and another theta for the sliding ones."""
    full = dict(rope["full_attention"])
    c["rope_theta"], c["rope_local_base_freq"] = full.pop("rope_theta"), rope["sliding_attention"]["rope_theta"]
    c["rope_scaling"] = None if full["rope_type"] == "default" else full


def keep_rope(c, rope):
    c["rope_parameters"] = rope


GEMMA = dict(head_dim=16, tie_word_embeddings=True)
GEMMA2 = dict(GEMMA, sliding_window=12, layer_types=types("sfs"), query_pre_attn_scalar=7, attn_logit_softcapping=2.5,
              final_logit_softcapping=3.0)
GEMMA2_V4 = dict(drop=["layer_types", "use_bidirectional_attention"], add={"hidden_act": "gelu_pytorch_tanh", "cache_implementation": "hybrid"})
GEMMA3 = dict(GEMMA, num_hidden_layers=4, sliding_window=12, layer_types=types("sfsf"), query_pre_attn_scalar=7)
GEMMA3_V4 = dict(rope=two_thetas, drop=["layer_types", "_sliding_window_pattern"], add={"sliding_window_pattern": 2})
PER_TYPE = {SLIDING: rope(), FULL: rope(rope_theta=5000.0)}
GEMMA3_ROPE = {SLIDING: rope(), FULL: rope("linear", 500.0, factor=4.0)}

golden("gemma-plain", **GEMMA, hidden_act="gelu_pytorch_tanh", v4=dict(
    drop=["use_bidirectional_attention"], add={"hidden_activation": None}))
golden("gemma-bias", **GEMMA, attention_bias=True, num_key_value_heads=1)
golden("gemma2-caps", **GEMMA2, v4=GEMMA2_V4)
golden("gemma2-bias", **{**GEMMA2, "attention_bias": True, "attn_logit_softcapping": None}, v4=GEMMA2_V4)
golden("vaultgemma-caps", **GEMMA2)
golden("gemma3_text-plain", **GEMMA3, v4=GEMMA3_V4, inert=BY_LAYER, rope_parameters=PER_TYPE)
golden("gemma3_text-linear", **GEMMA3, v4=GEMMA3_V4, inert=BY_LAYER, rope_parameters=GEMMA3_ROPE)
golden("gemma3_text-cap-bias", **GEMMA3, v4=GEMMA3_V4, inert=BY_LAYER, rope_parameters=PER_TYPE, attention_bias=True,
       final_logit_softcapping=3.0)
GEMMA3N = dict(head_dim=16, num_hidden_layers=6, intermediate_size=[16] * 6, sliding_window=12, layer_types=types("sfsfsf"),
               rope_parameters=PER_TYPE, final_logit_softcapping=3.0, vocab_size_per_layer_input=72,
               hidden_size_per_layer_input=8, altup_num_inputs=3, altup_active_idx=1, laurel_rank=8,
               num_kv_shared_layers=2, activation_sparsity_pattern=[0.8, 0.6, 0.0, 0.0, 0.0, 0.0], tie_word_embeddings=True)
GEMMA3N_INERT = {"altup_coef_clip": "training only"}
GEMMA3N_V4 = dict(rope=two_thetas)
golden("gemma3n_text-shared", **GEMMA3N, stale=True, inert=GEMMA3N_INERT, v4=GEMMA3N_V4)
golden("gemma3n_text-unshared", **{**GEMMA3N, "num_kv_shared_layers": 0, "altup_active_idx": 0,
       "altup_correct_scale": False}, inert={**GEMMA3N_INERT, r"correct_output_scale": "altup_correct_scale is off"}, v4=GEMMA3N_V4)
GEMMA4 = dict(head_dim=8, sliding_window=12, tie_word_embeddings=True, rope_parameters={SLIDING: rope(), FULL: rope(
    "proportional", 5000.0, partial_rotary_factor=0.5)}, vocab_size_per_layer_input=72, final_logit_softcapping=3.0)
GEMMA4_E = dict(GEMMA4, num_hidden_layers=6, layer_types=types("sfsfsf"), hidden_size_per_layer_input=8,
                num_kv_shared_layers=2, use_double_wide_mlp=True, global_head_dim=16)
GEMMA4_DENSE = dict(GEMMA4, num_hidden_layers=4, layer_types=types("ssff"), hidden_size_per_layer_input=0,
                    attention_k_eq_v=True, global_head_dim=16, num_global_key_value_heads=1)
GEMMA4_V4 = lambda **heads: dict(rope=keep_rope, drop=["per_layer_config"], add={"global_head_dim": 16, **heads})
FORCED = {"layer_types\\.5": "transformers makes the last layer full"}
NO_PER_LAYER = {"layer_types\\.3": "transformers makes the last layer full",
                "use_double_wide_mlp": "of layers that share, which it has not",
                "vocab_size_per_layer_input": "it has no inputs per layer"}
golden("gemma4_text-e-model", **GEMMA4_E, inert=FORCED, stale=True, v4=GEMMA4_V4())
golden("gemma4_text-e-model-bare", **{**GEMMA4_E, "use_double_wide_mlp": False}, inert=FORCED, v4=GEMMA4_V4())
golden("gemma4_text-dense", **GEMMA4_DENSE, inert=NO_PER_LAYER, v4=GEMMA4_V4(num_global_key_value_heads=1))
golden("gemma4_text-moe", **GEMMA4_DENSE, inert=NO_PER_LAYER, enable_moe_block=True, num_experts=6, top_k_experts=2, moe_intermediate_size=8,
       unreached=r"router\.proj", v4=GEMMA4_V4(num_global_key_value_heads=1))

# --- mixtures of experts ----------------------------------------------------------------------------------------------

EXPERTS = dict(moe_intermediate_size=8, num_experts_per_tok=2)
BIASES = {r"correction_bias|expert_bias": lambda r, x: 0.15 * r}
UNREACHED_BY_BIAS = r"correction_bias|expert_bias"
GATE = r"(mlp|block_sparse_moe|feed_forward|ffn)\.(gate|router)(\.(wg|layer|gate))?\.weight"
DENSE_KINDS = {"first_k_dense_replace": "mlp_layer_types says it layer by layer"}
SDS = ["sparse", "dense", "sparse"]
DSS = ["dense", "sparse", "sparse"]
NUM_EXPERTS = dict(rename={"num_local_experts": "num_experts"})

golden("mixtral-plain", intermediate_size=8, num_local_experts=6, sliding_window=None, unreached=GATE,
       v4=dict(drop=["head_dim"]))
golden("mixtral-window-head-dim", intermediate_size=8, num_local_experts=6, sliding_window=12, head_dim=16,
       num_experts_per_tok=3)
golden("qwen2_moe-plain", **EXPERTS, num_experts=6, shared_expert_intermediate_size=16, mlp_only_layers=[1],
       unreached=GATE, inert=(QWEN_MOE := {
           "mlp_only_layers.*": "a list with one number", "use_sliding_window": "layer_types says it layer by layer",
           "sliding_window": "no layer slides", "max_window_layers": "layer_types says it layer by layer",
           "intermediate_size": "no dense layer"}), v4=dict(drop=["layer_types"]))
golden("qwen2_moe-normalized-window", **EXPERTS, num_experts=6, shared_expert_intermediate_size=16, norm_topk_prob=True,
       qkv_bias=False, decoder_sparse_step=2, use_sliding_window=True, sliding_window=12, max_window_layers=1,
       layer_types=types("fss"), inert={key: QWEN_MOE[key] for key in ("use_sliding_window", "max_window_layers")})
QWEN3_MOE_INERT = {"use_sliding_window": "sliding_window alone says it", "mlp_only_layers.*": "a list with one number",
                   "intermediate_size": "no dense layer", "decoder_sparse_step": "where all layers are sparse"}
golden("qwen3_moe-normalized", **EXPERTS, num_local_experts=6, head_dim=16, norm_topk_prob=True, unreached=GATE,
       inert=QWEN3_MOE_INERT, v4={**NUM_EXPERTS, "add": {"max_window_layers": 3}})
golden("qwen3_moe-plain", **EXPERTS, num_local_experts=6, head_dim=16, norm_topk_prob=False, num_hidden_layers=4,
       decoder_sparse_step=2, mlp_only_layers=[3], inert=QWEN3_MOE_INERT, v4=NUM_EXPERTS)
golden("qwen3_moe-window-bias", **EXPERTS, num_local_experts=6, head_dim=16, norm_topk_prob=True, attention_bias=True,
       use_sliding_window=True, sliding_window=12, mlp_only_layers=[1], inert=QWEN3_MOE_INERT, v4=NUM_EXPERTS)
golden("olmoe-plain", intermediate_size=8, num_experts=6, num_experts_per_tok=2, unreached=GATE)
golden("olmoe-clip-normalized", intermediate_size=8, num_experts=6, num_experts_per_tok=2, clip_qkv=2.5,
       norm_topk_prob=True, attention_bias=True)
golden("flex_olmo-plain", intermediate_size=8, num_experts=6, num_experts_per_tok=2, unreached=GATE)
golden("flex_olmo-normalized", intermediate_size=8, num_experts=6, num_experts_per_tok=2, norm_topk_prob=True)
golden("granitemoe-multipliers", **MUP, intermediate_size=8, num_local_experts=6, unreached=GATE)
golden("granitemoe-bias", **MUP, intermediate_size=8, num_local_experts=6, attention_bias=True)
golden("granitemoeshared-shared", **MUP, intermediate_size=8, num_local_experts=6, shared_intermediate_size=16, unreached=GATE)
golden("granitemoeshared-unshared", **MUP, intermediate_size=8, num_local_experts=6)
golden("granitemoe_swa-sinks", **MUP, intermediate_size=8, num_local_experts=6, sliding_window=12, shared_intermediate_size=16,
       layer_types=types("fsf"), layer_rope_theta=[1000.0, 300.0, 0.0], unreached=GATE,
       inert={r"rope_parameters\.rope_theta": "layer_rope_theta says it layer by layer"})
GLM4_MOE = dict(**EXPERTS, head_dim=16, n_routed_experts=6, routed_scaling_factor=1.8,
                rope_parameters=rope(partial_rotary_factor=0.5))
MTP = {"num_nextn_predict_layers": "layers that predict further tokens are not run"}
NEXT_LAYER = {"model.layers.3.eh_proj.weight": (32, 64), "model.layers.3.enorm.weight": (32,), "model.layers.3.hnorm.weight": (32,),
              "model.layers.3.input_layernorm.weight": (32,), "model.layers.3.self_attn.k_proj.weight": (32, 32),
              "model.layers.3.shared_head.norm.weight": (32,)}
golden("glm4_moe-groups", **GLM4_MOE, n_group=3, topk_group=2, use_qk_norm=True, attention_bias=True, inert=MTP,
       weights=BIASES, unreached=UNREACHED_BY_BIAS)
golden("glm4_moe-plain", **GLM4_MOE, norm_topk_prob=False, n_shared_experts=2, weights=BIASES, inert=MTP,
       first_k_dense_replace=2)
golden("glm4_moe-next-layer", **GLM4_MOE, weights=BIASES, inert=MTP, extra=NEXT_LAYER)
golden("gpt_oss-plain", head_dim=16, intermediate_size=8, num_local_experts=6, num_experts_per_tok=2, sliding_window=12,
       layer_types=types("sfs"), rope_parameters=rope("yarn", 500.0, **{**YARN, "truncate": False}), unreached=GATE,
       weights={r"gate_up_proj$": lambda r, x: 0.8 * r, r"sinks": lambda r, x: 1 + r}, inert={"hidden_act": "the gate has a formula of its own"}, v4=dict(
           drop=["swiglu_alpha"], add={"experts_per_token": 2, "initial_context_length": 32}))
MINIMAX = dict(head_dim=16, intermediate_size=8, num_local_experts=6, num_experts_per_tok=2)
golden("minimax_m2-plain", **MINIMAX, rope_parameters=rope(partial_rotary_factor=0.5), weights=BIASES,
       unreached=UNREACHED_BY_BIAS, v4=dict(rope=lambda c, rope: c.update(
           rope_theta=rope["rope_theta"], rotary_dim=8), add={
           "attn_type_list": [1, 1, 1], "qk_norm_type": "per_layer", "scoring_func": "sigmoid", "use_qk_norm": True,
           "use_routing_bias": True, "shared_intermediate_size": 0, "use_mtp": True, "num_mtp_modules": 3,
           "mtp_transformer_layers": 1}))
ERNIE_MOE = dict(head_dim=16, moe_intermediate_size=8, moe_k=2, moe_num_experts=6)
ERNIE_INERT = {"moe_layer_end_index": "the last layer is below it"}
golden("ernie4_5_moe-plain", **ERNIE_MOE, moe_layer_end_index=2, moe_norm_min=0.7, weights=BIASES,
       unreached=UNREACHED_BY_BIAS, inert=ERNIE_INERT)
golden("ernie4_5_moe-interval-bias", **ERNIE_MOE, num_hidden_layers=4, moe_layer_start_index=0, moe_layer_end_index=3,
       moe_layer_interval=2, use_bias=True, tie_word_embeddings=False, moe_num_shared_experts=1, moe_norm_min=0.7, weights=BIASES,
       inert={"moe_layer_(start|end)_index": "no sparse layer lies where it cuts"})
golden("hunyuan_v1_moe-plain", head_dim=16, intermediate_size=8, num_experts=6, moe_topk=2, unreached=GATE)
golden("hunyuan_v1_moe-alpha-per-layer", head_dim=16, intermediate_size=8, num_experts=6, moe_topk=[2, 1, 3], attention_bias=True,
       rope_parameters=rope("dynamic", alpha=50.0, factor=1.0), v4=dict(type_key="type"),
       inert={r"rope_parameters\.factor": "alpha alone says the base"})
DOTS = dict(**EXPERTS, head_dim=16, n_routed_experts=6, n_shared_experts=1, first_k_dense_replace=1, routed_scaling_factor=1.8)
golden("dots1-plain", **DOTS, norm_topk_prob=True, sliding_window=None, weights=BIASES, unreached=UNREACHED_BY_BIAS,
       inert={"max_window_layers": "layer_types says it layer by layer"})
golden("dots1-groups-window", **DOTS, n_group=3, topk_group=2, attention_bias=True, sliding_window=12, max_window_layers=1,
       layer_types=types("fss"), weights=BIASES, inert={"max_window_layers": "layer_types says it layer by layer"})
golden("mellum-plain", **EXPERTS, head_dim=16, num_local_experts=6, sliding_window=12, layer_types=types("sfs"),
       mlp_layer_types=SDS, norm_topk_prob=True, rope_parameters={SLIDING: rope(), FULL: rope("yarn", 500.0, **YARN)},
       unreached=GATE)
golden("mellum-bias", **EXPERTS, head_dim=16, num_local_experts=6, sliding_window=12, layer_types=types("sfs"),
       mlp_layer_types=SDS, norm_topk_prob=False, rope_parameters=PER_TYPE, attention_bias=True, v4=NUM_EXPERTS)
golden("hy_v3-plain", **EXPERTS, head_dim=16, num_experts=6, mlp_layer_types=DSS, router_scaling_factor=1.8,
       weights=BIASES, unreached=UNREACHED_BY_BIAS, inert=(HY := {"enable_moe_fp32_combine": "a cast"}))
golden("hy_v3-bias", **EXPERTS, head_dim=16, num_experts=6, mlp_layer_types=DSS, num_shared_experts=2,
       attention_bias=True, mlp_bias=True, weights=BIASES, inert=HY)
AFMOE = dict(**EXPERTS, head_dim=16, num_experts=6, sliding_window=12, layer_types=types("sfs"), num_dense_layers=1,
             route_scale=1.8)
golden("afmoe-mup", **AFMOE, mup_enabled=True, weights=BIASES, unreached=UNREACHED_BY_BIAS, inert=BY_LAYER)
golden("afmoe-bias", **AFMOE, attention_bias=True, num_shared_experts=1, weights=BIASES, inert=BY_LAYER)
LAGUNA = dict(**EXPERTS, head_dim=16, num_experts=6, shared_expert_intermediate_size=16, sliding_window=12,
              layer_types=types("fsf"), mlp_layer_types=DSS, num_attention_heads_per_layer=[4, 6, 2],
              moe_routed_scaling_factor=1.8, rope_parameters={
                  FULL: rope("yarn", 50.0, **YARN, partial_rotary_factor=0.5), SLIDING: rope(partial_rotary_factor=1.0)})
LAGUNA_INERT = {"num_attention_heads": "num_attention_heads_per_layer says it layer by layer"}
golden("laguna-per-head", **LAGUNA, moe_router_logit_softcapping=1.5, weights=BIASES, unreached=UNREACHED_BY_BIAS, inert=LAGUNA_INERT)
golden("laguna-per-element-bias", **LAGUNA, gating="per-element", attention_bias=True, weights=BIASES, inert=LAGUNA_INERT)
EXAONE_MOE = dict(**EXPERTS, head_dim=16, num_experts=6, sliding_window=12, layer_types=types("sfs"), mlp_layer_types=DSS,
                  routed_scaling_factor=1.8)
golden("exaone_moe-plain", **EXAONE_MOE, weights=BIASES, unreached=UNREACHED_BY_BIAS, inert={**BY_LAYER, **DENSE_KINDS},
       v4=dict(add={"sliding_window_pattern": "LG"}))
golden("exaone_moe-groups", **EXAONE_MOE, n_group=3, topk_group=2, norm_topk_prob=False, num_shared_experts=2, weights=BIASES,
       inert={**BY_LAYER, **DENSE_KINDS})
COHERE2_MOE = dict(head_dim=16, intermediate_size=8, num_experts=6, num_experts_per_tok=2, logit_scale=0.3, sliding_window=12,
                   prefix_dense_intermediate_size=24, mlp_layer_types=["dense", "sparse", "sparse", "sparse"],
                   num_hidden_layers=4, layer_types=types("fsfs"))
COHERE2_MOE_INERT = {**BY_LAYER, "layer_norm_eps": "rms_norm_eps wins", "rope_theta": "rope_parameters wins",
                     "norm_topk_prob": "softmax over the chosen needs none"}
golden("cohere2_moe-plain", **COHERE2_MOE, num_shared_experts=1, unreached=GATE, inert=COHERE2_MOE_INERT)
golden("cohere2_moe-sigmoid", **{**COHERE2_MOE, "rms_norm_eps": None}, num_shared_experts=2, attention_bias=True,
       shared_expert_combination_strategy="sum", expert_selection_fn="sigmoid", prefix_dense_sliding_window_pattern=2,
       inert={
           "prefix_dense_sliding_window_pattern": "only whether it is 1", **{key: COHERE2_MOE_INERT[key] for key in (*BY_LAYER, "rope_theta")}})
PHIMOE_LONG = dict(LONG, short_mscale=1.2, long_mscale=1.4)
PHIMOE = {"num_experts_per_tok": "transformers chooses two, whatever it says"}
golden("phimoe-plain", inert=PHIMOE, intermediate_size=8, num_local_experts=6, sliding_window=None, unreached=GATE)
golden("phimoe-longrope-bias", intermediate_size=8, num_local_experts=6, attention_bias=True, lm_head_bias=True, sliding_window=12,
       lengths=(45, 17, 3, 32, 33), rope_parameters=rope("longrope", **PHIMOE_LONG), inert={**PHIMOE, "original_max_position_embeddings": "the one inside rope_parameters wins",
           r"rope_parameters\.long_factor\..*": "transformers turns every prompt by the short factors"})
DBRX_FFN = dict(ffn_hidden_size=8, moe_num_experts=6, moe_top_k=2, hidden_size=32)
DBRX = {"num_key_value_heads": "attn_config says it", r"ffn_config\.hidden_size": "d_model says it",
        r"attn_config\.rope_theta": "transformers turns by rope_parameters, or by 10000 where there are none",
        r".*_config\.(chunk_size_feed_forward|is_encoder_decoder|label2id\..*|output_.*)": "of every config"}


def dbrx_v4(c, rope):
    """The configs inside say only what is their own."""
    c["attn_config"] = {key: c["attn_config"][key] for key in ("clip_qkv", "kv_n_heads", "rope_theta", "model_type")}
    c["ffn_config"] = {key: c["ffn_config"][key] for key in (
        "ffn_hidden_size", "moe_num_experts", "moe_top_k", "moe_normalize_expert_weights", "ffn_act_fn", "model_type")}


DBRX_V4 = dict(rope=dbrx_v4, drop=["num_key_value_heads"])
golden("dbrx-clip", theta=10000.0, attn_config=dict(clip_qkv=3.0, rope_theta=10000.0, kv_n_heads=2), v4=DBRX_V4,
       ffn_config={**DBRX_FFN, "moe_normalize_expert_weights": 2.0}, unreached=GATE, inert=DBRX)
golden("dbrx-plain", theta=10000.0, attn_config=dict(clip_qkv=50.0, rope_theta=10000.0, kv_n_heads=2), v4=DBRX_V4,
       ffn_config={**DBRX_FFN, "moe_normalize_expert_weights": None}, inert={
           **DBRX, r"attn_config\.clip_qkv": "so wide that nothing reaches it; transformers cannot run without"})
LLAMA4 = dict(head_dim=16, intermediate_size=8, intermediate_size_mlp=24, num_local_experts=6, num_hidden_layers=4,
              no_rope_layers=[1, 0, 1, 1], layer_types=types("cfcc"), attention_chunk_size=12, floor_scale=8, attn_scale=0.5,
              moe_layers=[1, 2])
LLAMA4_INERT = {**BY_LAYER, "interleave_moe_layer_step": "moe_layers says it layer by layer"}
golden("llama4_text-chunked", **LLAMA4, unreached=r"router\.weight", inert=LLAMA4_INERT)
golden("llama4_text-plain", **{**LLAMA4, "use_qk_norm": False, "attn_temperature_tuning": False, "attention_bias": True},
       num_experts_per_tok=2, rope_parameters=rope("llama3", 500.0, **LLAMA3),
       inert={**LLAMA4_INERT, "floor_scale|attn_scale": "no temperature tuning"})
MIMO = dict(**EXPERTS, head_dim=24, v_head_dim=16, num_attention_heads=4, num_key_value_heads=1, n_routed_experts=6, sliding_window=12,
            layer_types=types("fssf"), num_hidden_layers=4, mlp_layer_types=["dense", "sparse", "sparse", "dense"],
            rope_parameters={FULL: rope(rope_theta=5000.0, partial_rotary_factor=0.334), SLIDING: rope(partial_rotary_factor=0.334)})
golden("mimo_v2_flash-plain", **MIMO, weights=BIASES, unreached=UNREACHED_BY_BIAS)
golden("mimo_v2_flash-groups", **MIMO, n_group=3, topk_group=2, norm_topk_prob=False, routed_scaling_factor=1.8,
       attention_bias=True, attention_value_scale=None, weights=BIASES)

# --- older and rarer dense families -----------------------------------------------------------------------------------

HEAD_16 = dict(hidden_size=48, num_attention_heads=3, num_key_value_heads=3)  # where head_dim follows from them
HALF = rope(partial_rotary_factor=0.5)
golden("phi-plain", **HEAD_16, rope_parameters=HALF)
golden("phi-qk-norm", **HEAD_16, rope_parameters=HALF, qk_layernorm=True)
golden("stablelm-plain", **HEAD_16, rope_parameters=rope(partial_rotary_factor=0.25))
golden("stablelm-qk-norm-bias", **HEAD_16, rope_parameters=HALF, qk_layernorm=True, use_qkv_bias=True)
golden("stablelm-parallel", **{**HEAD_16, "num_key_value_heads": 1}, rope_parameters=HALF, use_parallel_residual=True)
golden("nemotron-plain", head_dim=16, rope_parameters=HALF)
golden("nemotron-bias", head_dim=16, rope_parameters=HALF, attention_bias=True, mlp_bias=True)
golden("jais2-bias", head_dim=16)
golden("jais2-plain", head_dim=16, attention_bias=False, mlp_bias=False)
XIELU = {r"alpha": lambda r, x: 0.5 + 0.3 * r, r"act_fn\.(beta|eps)": lambda r, x: x}
XIELU_NEUTRAL = {r"act_fn\.beta": 0.0}
XIELU_INERT = {r".*act_fn\.eps": "guards a difference that float32 does not lose"}
golden("apertus-llama3", rope_parameters=rope("llama3", 500.0, **LLAMA3), weights=XIELU, neutral=XIELU_NEUTRAL, inert=XIELU_INERT)
golden("apertus-bias", attention_bias=True, rope_parameters=rope("llama3", 500.0, **LLAMA3), weights=XIELU, neutral=XIELU_NEUTRAL, inert=XIELU_INERT)
golden("helium-plain", head_dim=8)
golden("helium-bias", head_dim=8, attention_bias=True, mlp_bias=True)
NEOX_V4 = dict(rope=lambda c, rope: c.update(rotary_emb_base=rope["rope_theta"], rotary_pct=rope["partial_rotary_factor"]))
NEOX = dict(hidden_size=48, num_attention_heads=3, v4=NEOX_V4)
golden("gpt_neox-parallel", **NEOX, rope_parameters=rope(partial_rotary_factor=0.25))
golden("gpt_neox-sequential", **NEOX, rope_parameters=HALF, use_parallel_residual=False)
golden("gpt_neox-no-bias", **NEOX, rope_parameters=HALF, attention_bias=False)
GPTJ = dict(n_inner=24, inert={"n_positions": "longer than any prompt"})
golden("gptj-plain", **GPTJ, n_embd=48, n_head=3, rotary_dim=8)
golden("gptj-whole-head", **GPTJ, rotary_dim=8)
GPT2 = dict(n_inner=24, n_positions=64)
golden("gpt2-plain", **GPT2)
golden("gpt2-scaled-by-layer", **GPT2, scale_attn_by_inverse_layer_idx=True, activation_function="gelu")
golden("gpt2-unscaled", **GPT2, scale_attn_weights=False)
BIGCODE = {"attention_softmax_in_fp32|scale_attention_softmax_in_fp32": "a cast", "num_key_value_heads": "multi_query says it"}
golden("gpt_bigcode-multi-query", **GPT2, inert=BIGCODE)
golden("gpt_bigcode-multi-head", **GPT2, multi_query=False, inert=BIGCODE)
OPT = dict(ffn_dim=24, max_position_embeddings=64)
golden("opt-plain", **OPT, word_embed_proj_dim=32)
# OPT-350M (do_layer_norm_before=False, word_embed_proj_dim=16) is refused: its config.json is in refused/.
golden("opt-no-bias-no-affine", **OPT, word_embed_proj_dim=32, enable_bias=False, layer_norm_elementwise_affine=False)
FALCON = dict(ffn_hidden_size=24)
FALCON_INERT = {"num_kv_heads": "multi_query says it", "multi_query": "new_decoder_architecture says it"}
golden("falcon-7b", **FALCON, multi_query=True, inert={"num_kv_heads": FALCON_INERT["num_kv_heads"]})
golden("falcon-new-decoder", **FALCON, new_decoder_architecture=True, num_kv_heads=2, inert={"multi_query": FALCON_INERT["multi_query"]})
golden("falcon-new-decoder-one-norm", **FALCON, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1,
       inert={"multi_query": FALCON_INERT["multi_query"]})
golden("falcon-sequential-bias", **FALCON, multi_query=False, parallel_attn=False, bias=True, num_kv_heads=4)

# --- hybrids: gated DeltaNet in the place of most attention -------------------------------------------------------------

GATED_DELTA = {r"A_log": lambda r, x: r - 1.0, r"conv1d": lambda r, x: 0.6 * r}
DELTA = dict(head_dim=16, num_hidden_layers=4, layer_types=types("lffl"), linear_key_head_dim=8, linear_value_head_dim=16,
             linear_num_key_heads=2, linear_num_value_heads=4, linear_conv_kernel_dim=4, weights=GATED_DELTA,
             rope_parameters=rope(partial_rotary_factor=0.5))
# transformers takes every n-th layer for one with attention, and a quarter of a head for what rotates.
BY_INTERVAL = dict(num_hidden_layers=5, layer_types=types("lflfl"), rope_parameters=rope(partial_rotary_factor=0.25))
INTERVAL_V4 = dict(rope=lambda c, rope: c.update(rope_theta=rope["rope_theta"], rope_scaling=None), drop=["layer_types"],
                   add={"full_attention_interval": 2})
MTP_TENSORS = {"mtp.layers.0.input_layernorm.weight": (32,), "mtp.layers.0.self_attn.k_proj.weight": (32, 32),
               "mtp.fc.weight": (32, 64), "mtp.norm.weight": (32,)}
ALL_SPARSE = {"mlp_only_layers.*": "a list with one number", "decoder_sparse_step": "where all layers are sparse",
              "intermediate_size": "no dense layer"}
golden("qwen3_next-moe", **DELTA, **EXPERTS, num_experts=6, shared_expert_intermediate_size=16, unreached=GATE,
       inert=ALL_SPARSE, extra=MTP_TENSORS)
golden("qwen3_next-interval-dense-bias", **{**DELTA, **BY_INTERVAL}, **EXPERTS, num_experts=6, shared_expert_intermediate_size=16,
       norm_topk_prob=False, decoder_sparse_step=2, mlp_only_layers=[3], attention_bias=True, tie_word_embeddings=True,
       v4=INTERVAL_V4, inert={"mlp_only_layers.*": "a list with one number"})
golden("qwen3_next-equal-heads", **{**DELTA, "linear_num_value_heads": 2, "linear_conv_kernel_dim": 2}, **EXPERTS, num_experts=6,
       shared_expert_intermediate_size=16, mlp_only_layers=[0, 1, 3], rms_norm_eps=1e-4)
QWEN3_5 = {**DELTA, "rope_parameters": rope(partial_rotary_factor=0.5, mrope_section=[2, 1, 1], mrope_interleaved=True)}
MROPE = {r"rope_parameters\.mrope_.*": "the positions of text are the same along all axes"}
QWEN3_5_V4 = dict(rope=keep_rope, drop=["layer_types"], add={"full_attention_interval": 2, "attn_output_gate": True, "mamba_ssm_dtype": "float32",
                                                             "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False})
golden("qwen3_5_text-plain", **QWEN3_5, inert=MROPE, extra=MTP_TENSORS)
golden("qwen3_5_text-interval-bias", **{**QWEN3_5, **BY_INTERVAL, "linear_num_key_heads": 4, "linear_conv_kernel_dim": 3},
       attention_bias=True, tie_word_embeddings=True, v4=QWEN3_5_V4)
golden("qwen3_5_moe_text-plain", **QWEN3_5, **EXPERTS, num_experts=6, shared_expert_intermediate_size=16, unreached=GATE, inert=MROPE)
golden("qwen3_5_moe_text-interval-bias", layout=lambda state, config: state, **{**QWEN3_5, **BY_INTERVAL}, **EXPERTS, num_experts=6, shared_expert_intermediate_size=16,
       attention_bias=True, tie_word_embeddings=True, v4=QWEN3_5_V4)
OLMO_HYBRID = {key: value for key, value in DELTA.items() if key not in ("head_dim", "rope_parameters")}
OLMO_HYBRID_INERT = {"linear_(a_log|dt)_.*": "the first weights of training"}
NO_ROPE = {"rope_type": "default", "rope_theta": None}


def own_convolutions(state, config):
    """q, k and v have a tensor each: transformers reads them so, and saves three of one size that nobody else reads."""
    key, value = (heads * size for heads, size in (
        (config.linear_num_key_heads, config.linear_key_head_dim), (config.linear_num_value_heads, config.linear_value_head_dim)))
    out = {}
    for name, x in state.items():
        if name.endswith("conv1d.weight"):
            for part, rows in zip("qkv", x.split([key, key, value])):
                out[name.replace("conv1d", f"{part}_conv1d")] = rows.contiguous()
        else:
            out[name] = x
    return out


def older_norms(state, config):
    older = {"input_layernorm": "attention_layer_norm", "post_attention_layernorm": "feedforward_layer_norm"}
    out = {}
    for name, x in own_convolutions(state, config).items():
        layer = name.partition(".layers.")[2].partition(".")[0]
        if layer and config.layer_types[int(layer)] == LINEAR:
            for new, old in older.items():
                name = name.replace(f".{new}.", f".{old}.")
        out[name] = x
    return out


golden("olmo_hybrid-plain", **OLMO_HYBRID, layout=own_convolutions, rope_parameters=NO_ROPE, inert=OLMO_HYBRID_INERT)
golden("olmo_hybrid-rope-bias", **{**OLMO_HYBRID, "linear_num_key_heads": 4, "layer_types": types("fllf")}, layout=older_norms,
       rope_parameters=rope(), linear_allow_neg_eigval=False, attention_bias=True, tie_word_embeddings=True, inert=OLMO_HYBRID_INERT)

# --- hybrids: short convolutions in the place of most attention --------------------------------------------------------

LFM2 = dict(num_hidden_layers=4, conv_L_cache=3)
LFM2_SAYS_AGAIN = dict(block_dim=32, conv_dim=32, conv_dim_out=32, num_heads=4, block_norm_eps=1e-3, block_use_swiglu=True,
                       use_pos_enc=True, block_mlp_init_scale=1.0, block_out_init_scale=1.0, block_use_xavier_init=True,
                       conv_use_xavier_init=True)
golden("lfm2-adjusted", **LFM2, layer_types=types("vfvf"), intermediate_size=26, block_ffn_dim_multiplier=1.3,
       block_multiple_of=2, v4=dict(rename={"intermediate_size": "block_ff_dim", "tie_word_embeddings": "tie_embedding"},
                                    drop=["layer_types"], add={"full_attn_idxs": [1, 3], **LFM2_SAYS_AGAIN}))
golden("lfm2-bias", **{**LFM2, "conv_L_cache": 4}, layer_types=types("fvfv"), conv_bias=True,
       block_auto_adjust_ff_dim=False, tie_word_embeddings=False, inert={
           "block_ffn_dim_multiplier|block_multiple_of": "block_auto_adjust_ff_dim is off"})
LFM2_MOE = dict(**LFM2, **EXPERTS, num_experts=6, routed_scaling_factor=1.8)
golden("lfm2_moe-correction", **LFM2_MOE, layer_types=types("vfvf"), num_dense_layers=1, weights=BIASES,
       unreached=UNREACHED_BY_BIAS, v4=dict(rename={"tie_word_embeddings": "tie_embedding"}))
golden("lfm2_moe-bias", **LFM2_MOE, layer_types=types("fvvf"), num_dense_layers=2, conv_bias=True,
       use_expert_bias=False, norm_topk_prob=False, tie_word_embeddings=False, unreached=GATE)

# --- hybrids: state-space models in the place of most attention, or beside it --------------------------------------------

# Decays that let a state last for several tokens; steps of time that a clamp between 0.3 and 1.2 cuts on both sides.
STATE_SPACE = {r"A_log": lambda r, x: 0.8 * r - 1.0, r"\.D$": lambda r, x: 1 + r, r"dt_bias": lambda r, x: 0.6 * r,
               r"conv1d\.weight": lambda r, x: 0.6 * r}
STATE_SPACE_NEUTRAL = {r"A_log": 0.0, r"\.D$": 0.0, r"dt_bias": 0.0}
CHUNKS = {"chunk_size|mamba_chunk_size": "the same sums, in pieces"}
MAMBA = dict(mamba_n_heads=4, mamba_d_head=8, mamba_expand=1, mamba_d_state=8, mamba_n_groups=2, mamba_chunk_size=8,
             weights=STATE_SPACE, neutral=STATE_SPACE_NEUTRAL)
LIMITS = dict(time_step_limit=[0.3, 1.2])
NO_LIMITS = {r"time_step_limit.*": "a step of time is above 0 in any case"}

NEMOTRON_H = dict(head_dim=8, mamba_num_heads=4, mamba_head_dim=8, ssm_state_size=8, n_groups=2, chunk_size=8, time_step_min=0.3,
                  weights={**STATE_SPACE, **BIASES}, neutral=STATE_SPACE_NEUTRAL)
NEMOTRON_H_MOE = dict(**EXPERTS, n_routed_experts=6, moe_shared_expert_intermediate_size=16, routed_scaling_factor=1.8)
NEMOTRON_H_INERT = {
    **CHUNKS, "attention_bias": "its attention has none", "sliding_window": "no layer slides",
    r"time_step_(max|floor|limit.*)": "time_step_min alone is a limit", "expand": "the heads say the width",
    "mamba_proj_bias": "use_bias says it", "mamba_ssm_cache_dtype": "the type of a state that is kept",
    "num_logits_to_keep|use_mamba_kernels|rescale_prenorm_residual|residual_in_fp32": "says how to run",
    "n_shared_experts": "there is one, whatever it says", "moe_shared_expert_overlap": "says how to run",
    "num_nextn_predict_layers|mtp_layers_block_type.*": "layers that predict further tokens are not run"}
NO_MOE = {"n_routed_experts|num_experts_per_tok|moe_.*|routed_scaling_factor|n_group|topk_group|norm_topk_prob": "no layer has experts"}


def pattern(letters):
    """As Nemotron-H writes it: M state space, * attention, - feed-forward, E experts."""
    names = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
    return dict(layers_block_type=[names[letter] for letter in letters], v4=dict(
        drop=["layers_block_type"], add={"hybrid_override_pattern": letters}))


golden("nemotron_h-dense", **NEMOTRON_H, **pattern("M*-M*-"), inert={**NEMOTRON_H_INERT, **NO_MOE})
golden("nemotron_h-bias", **NEMOTRON_H, **pattern("MM-*M"), use_bias=True, mlp_bias=True, use_conv_bias=False, conv_kernel=3,
       mamba_hidden_act="gelu", mlp_hidden_act="silu", inert={**NEMOTRON_H_INERT, **NO_MOE})
golden("nemotron_h-moe", **NEMOTRON_H, **NEMOTRON_H_MOE, **pattern("ME*EM*"), n_group=3, topk_group=2, unreached=UNREACHED_BY_BIAS,
       inert={**NEMOTRON_H_INERT, "intermediate_size": "no layer of that kind"})
golden("nemotron_h-latent", **NEMOTRON_H, **NEMOTRON_H_MOE, **pattern("*E-ME*"), moe_latent_size=12, norm_topk_prob=False, mlp_bias=True,
       inert=NEMOTRON_H_INERT)

GRANITE_HYBRID = dict(**MUP, **MAMBA, intermediate_size=8, shared_intermediate_size=16, num_hidden_layers=4)
GRANITE_TYPES = {"layer_types": ["mamba", "attention", "mamba", "attention"]}
golden("granitemoehybrid-nope-moe", **GRANITE_HYBRID, **LIMITS, layer_types=types("lflf"), num_local_experts=6, unreached=GATE, inert={
    **CHUNKS, r"rope_parameters\..*": "position_embedding_type says that nothing rotates"}, v4=dict(
        add={**GRANITE_TYPES, "position_embedding_type": "nope"}))
golden("granitemoehybrid-rope-dense", **GRANITE_HYBRID, layer_types=types("lflf"), num_local_experts=0, position_embedding_type="rope",
       attention_bias=True, mamba_proj_bias=True, mamba_conv_bias=False, mamba_d_conv=3, v4=dict(add=GRANITE_TYPES), inert={
           **CHUNKS, **NO_LIMITS, "intermediate_size|num_experts_per_tok": "no layer has experts"})

BAMBA = dict(**MAMBA, num_hidden_layers=4, attn_layer_indices=[1, 3], head_dim=16, inert={
    **CHUNKS, "num_logits_to_keep": "says how to run", "z_loss_coefficient": "training only"})
golden("bamba-plain", **BAMBA, **LIMITS)
golden("bamba-bias", **{**BAMBA, "inert": {**BAMBA["inert"], **NO_LIMITS}}, attention_bias=True, mlp_bias=True, mamba_proj_bias=True,
       mamba_conv_bias=False, tie_word_embeddings=True)

FALCON_H1 = dict(**MAMBA, mamba_d_ssm=32, lm_head_multiplier=0.4, embedding_multiplier=2.5, mlp_multipliers=[0.7, 1.6], key_multiplier=0.6,
                 attention_out_multiplier=0.8, attention_in_multiplier=1.3, ssm_multipliers=[0.8, 1.2, 0.7, 1.4, 1.1],
                 ssm_in_multiplier=1.25, ssm_out_multiplier=0.75)
FALCON_H1_INERT = {**CHUNKS, "num_logits_to_keep": "says how to run", "mamba_expand": "mamba_d_ssm says the width"}
golden("falcon_h1-norm", **FALCON_H1, **LIMITS, mamba_rms_norm=True, mamba_norm_before_gate=False, inert=FALCON_H1_INERT)
golden("falcon_h1-norm-first", **FALCON_H1, mamba_rms_norm=True, mamba_norm_before_gate=True, attention_bias=True, mlp_bias=True,
       projectors_bias=True, mamba_proj_bias=True, tie_word_embeddings=True, inert={**FALCON_H1_INERT, **NO_LIMITS})
golden("falcon_h1-no-norm", **{**FALCON_H1, "mamba_d_ssm": None, "mamba_expand": 2, "mamba_d_head": "auto"}, mamba_conv_bias=False,
       inert={**CHUNKS, **NO_LIMITS, "num_logits_to_keep": "says how to run", "mamba_norm_before_gate": "there is no norm"})

JAMBA = dict(mamba_d_state=8, mamba_expand=2, mamba_dt_rank=4, num_experts=6, num_experts_per_tok=2, intermediate_size=8,
             num_hidden_layers=4, attn_layer_period=2, attn_layer_offset=1, weights={**STATE_SPACE, r"dt_proj\.bias": lambda r, x: 0.6 * r},
             neutral=STATE_SPACE_NEUTRAL, inert={"use_mamba_kernels|use_mambapy|use_associative_scan": "says how to run"})
golden("jamba-moe", **JAMBA, expert_layer_period=2, expert_layer_offset=0, unreached=r"feed_forward\.router\.weight")
golden("jamba-dense-bias", **{**JAMBA, "num_experts": 1, "mamba_expand": 1, "mamba_dt_rank": "auto", "attn_layer_period": 3, "num_hidden_layers": 5,
       "inert": {**JAMBA["inert"], "expert_layer_(period|offset)|num_experts_per_tok": "no layer has experts"}}, mamba_proj_bias=True,
       mamba_conv_bias=False, mamba_d_conv=3, hidden_act="gelu", tie_word_embeddings=True)
