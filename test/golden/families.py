"""The goldens of the families: one line each, and what a line says that its model needs.

A line names model_type and variant ("phi3-longrope-long"); what it gives is the config beside TINY, and:

lengths    of the prompts
weights    name pattern -> how its tensors are made of normal numbers r, where the usual way hides something
neutral    name pattern -> the value at which a tensor counts as taken away, where it is not the one it starts with
inert      pattern of a tensor's name or of a key in config.json -> why it changes nothing
unreached  name pattern of the routers: the last expert of the first one is to stay without tokens
v4         how config.json differs in the dialect that people have: rope (a function), rename, drop, add, type_key
stale      the checkpoint also holds K, V and K norms of the layers that share those of another, as released ones do
"""
from transformers import AutoConfig

TINY = dict(vocab_size=80, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
            pad_token_id=None)
EPSILONS = ("rms_norm_eps", "layer_norm_eps", "norm_epsilon", "norm_eps", "layer_norm_epsilon")
SLIDING, FULL, CHUNKED = "sliding_attention", "full_attention", "chunked_attention"

FAMILIES = {}


def golden(name, *, lengths=(3, 17, 45, 26, 33), weights=None, neutral=None, inert=None, unreached=None, v4=None,
           stale=False, theta=1000.0, **config):
    model_type = name.split("-")[0]
    default = AutoConfig.for_model(model_type)
    base = {key: value for key, value in TINY.items() if hasattr(default, key)}
    base.update({key: 1e-3 for key in EPSILONS if hasattr(default, key)})
    if theta and "rope_theta" in (getattr(default, "rope_parameters", None) or {}):
        base["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    FAMILIES[name] = dict(model_type=model_type, config={**base, **config}, lengths=lengths, weights=weights or {},
                          neutral=neutral or {}, inert=inert or {}, unreached=unreached, v4=v4 or {}, stale=stale)


def rope(rope_type="default", rope_theta=1000.0, **keys):
    return {"rope_type": rope_type, "rope_theta": rope_theta, **keys}


def types(letters):
    """"sfc": sliding, full, chunked attention, layer by layer"""
    return [{"s": SLIDING, "f": FULL, "c": CHUNKED}[letter] for letter in letters]


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
golden("phi3-partial-longrope", hidden_size=64, lengths=(45, 17, 3, 32, 33), original_max_position_embeddings=32,
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
GEMMA3N = dict(head_dim=16, num_hidden_layers=6, intermediate_size=[24] * 6, sliding_window=12, layer_types=types("sfsfsf"),
               rope_parameters=PER_TYPE, final_logit_softcapping=3.0, vocab_size_per_layer_input=80,
               hidden_size_per_layer_input=8, altup_num_inputs=3, altup_active_idx=1, laurel_rank=8,
               num_kv_shared_layers=2, activation_sparsity_pattern=[0.8, 0.6, 0.0, 0.0, 0.0, 0.0], tie_word_embeddings=True)
GEMMA3N_INERT = {"altup_coef_clip": "training only"}
GEMMA3N_V4 = dict(rope=two_thetas)
golden("gemma3n_text-shared", **GEMMA3N, stale=True, inert=GEMMA3N_INERT, v4=GEMMA3N_V4)
golden("gemma3n_text-unshared", **{**GEMMA3N, "num_kv_shared_layers": 0, "altup_active_idx": 0,
       "altup_correct_scale": False}, inert={**GEMMA3N_INERT, r"correct_output_scale": "altup_correct_scale is off"}, v4=GEMMA3N_V4)
GEMMA4 = dict(head_dim=8, sliding_window=12, tie_word_embeddings=True, rope_parameters={SLIDING: rope(), FULL: rope(
    "proportional", 5000.0, partial_rotary_factor=0.5)}, vocab_size_per_layer_input=80, final_logit_softcapping=3.0)
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
golden("gemma4_text-moe", **GEMMA4_DENSE, inert=NO_PER_LAYER, enable_moe_block=True, num_experts=8, top_k_experts=2, moe_intermediate_size=16,
       unreached=r"router\.proj", v4=GEMMA4_V4(num_global_key_value_heads=1))
