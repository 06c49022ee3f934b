#!/usr/bin/env python
"""Golden files for the tests: what an independent reference (transformers) says enters the KV cache.

Run:    python test/golden/make_golden.py [name or pattern ...]
        Without names: all of them. The families of families.py are made by family_golden.py, which says what their
        expected.json holds beside the following, and the multimodal models of wrappers.py by wrapper_golden.py.
Needs:  transformers 5.23.0, torch 2.13.0 (CPU is enough; takes about a minute). Seeded: same versions, same files.

Writes, next to this script:

checkpoints/<variant>/   a tiny checkpoint with random weights that makes every part of the model matter
    config.json          as transformers 5 writes it (`rope_parameters`, `dtype`)
    config.v4.json       the same model as transformers 4 wrote it (`rope_theta`, `rope_scaling`, `torch_dtype`)
    model.safetensors    or several shards and model.safetensors.index.json
    expected.json        token_ids: the prompts. absmax: per layer, the max of |K| (after q/k norm and RoPE) and |V|
                         of each KV head over all positions of all prompts. Computed in fp32; each prompt runs alone
                         and as the first one (dynamic RoPE in transformers otherwise remembers longer, earlier prompts)
                         sites: per layer, the attention module by its name in the checkpoint. loss: per prompt, as
                         family_golden.py says; not of a checkpoint without a head
wrapper-configs.json     configs of multimodal models and of their decoders with transformers' defaults
rope.json                inverse frequencies and attention factor (it multiplies cos and sin) for many RoPE configs.
                         sequence_length matters to "dynamic" only.

Before it writes expected.json it asserts that: both config dialects give the same values; eager and sdpa attention
agree; and the values change when any weight or any setting under test (RoPE scaling, window, ...) is taken away.
"""
import copy, fnmatch, json, random, shutil, sys, zlib
from pathlib import Path

import torch, transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import family_golden, wrapper_golden
from families import FAMILIES
from wrappers import WRAPPERS

HERE = Path(__file__).resolve().parent
MADE_WITH = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
LENGTHS = [3, 17, 40, 64, 90]
BEYOND = [130, 90, 65, 64, 40]  # above, at and below max_position_embeddings = 64; the longest first on purpose
TINY = dict(vocab_size=128, hidden_size=32, intermediate_size=68, num_hidden_layers=3, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2)

VARIANTS = {}


def variant(name, *, theta=10000.0, rope=None, lengths=LENGTHS, dtype=torch.bfloat16, shard=None, base_model=False,
            large_key_bias=False, v4_type_key="rope_type", seed=0, **config):
    config = {**TINY, **config, "rope_parameters": {"rope_type": "default", "rope_theta": theta, **(rope or {})}}
    VARIANTS[name] = dict(model_type=name.split("-")[0], config=config, lengths=lengths, dtype=dtype, shard=shard,
                          base_model=base_model, large_key_bias=large_key_bias, v4_type_key=v4_type_key,
                          seed=zlib.crc32(name.encode()) + seed)


GQA = dict(hidden_size=48, num_attention_heads=6, intermediate_size=64)  # head_dim 8
variant("llama-mha", rms_norm_eps=1e-3, hidden_size=48, intermediate_size=56, num_attention_heads=3, num_key_value_heads=3)
variant("llama-gqa", **GQA, theta=500000.0)
variant("llama-mqa", **{**GQA, "num_key_value_heads": 1})
variant("llama-tied", tie_word_embeddings=True)
variant("llama-head-dim", num_attention_heads=4, head_dim=16)
variant("llama-attention-bias", attention_bias=True)
variant("llama-mlp-bias", mlp_bias=True)
variant("llama-f16", dtype=torch.float16)
variant("llama-f32", dtype=torch.float32, intermediate_size=48)
variant("llama-gelu", hidden_act="gelu", seed=1)  # seeds for which the two kinds of gelu differ most
variant("llama-gelu-tanh", hidden_act="gelu_pytorch_tanh", seed=8)
variant("llama-sharded", shard="20KB")
variant("llama-base-model", base_model=True)

ROPE = dict(lengths=BEYOND, max_position_embeddings=64)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
YARN_ROPE = dict(lengths=BEYOND, max_position_embeddings=128, theta=500.0)
variant("llama-rope-linear", **ROPE, rope=dict(rope_type="linear", factor=4.0), v4_type_key="type")
variant("llama-rope-dynamic", **ROPE, rope=dict(rope_type="dynamic", factor=2.0), v4_type_key="type")
variant("llama-rope-llama3", **ROPE, theta=500.0, rope=dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32))
variant("llama-rope-yarn", **YARN_ROPE, rope=YARN, v4_type_key="type")
variant("llama-rope-yarn-mscale", **YARN_ROPE, rope=dict(YARN, mscale=1.0, mscale_all_dim=0.5))
variant("llama-rope-yarn-attention-factor", **YARN_ROPE, rope=dict(  # a factor that is not 128 / 32, too
    YARN, factor=8.0, attention_factor=1.3, beta_fast=1.5, beta_slow=0.25))
variant("llama-rope-yarn-no-truncate", **YARN_ROPE, rope=dict(YARN, truncate=False), shard="40KB")

variant("mistral-plain", sliding_window=None, rms_norm_eps=1e-5)
variant("mistral-sliding-window", sliding_window=16, rms_norm_eps=1e-5)
variant("mistral-head-dim", sliding_window=None, num_attention_heads=4, head_dim=16, theta=1000000.0)

variant("qwen2-bias", theta=1000000.0, shard="40KB")
variant("qwen2-large-key-bias", theta=1000000.0, large_key_bias=True)
variant("qwen2-sliding-max-window-layers", use_sliding_window=True, sliding_window=16, max_window_layers=1)
variant("qwen2-tied", tie_word_embeddings=True, theta=1000000.0)

variant("qwen3-qk-norm", num_attention_heads=4, head_dim=16, rms_norm_eps=1e-3, theta=1000000.0)
variant("qwen3-attention-bias", head_dim=16, attention_bias=True)
variant("qwen3-sliding", head_dim=16, num_hidden_layers=4, use_sliding_window=True, sliding_window=24,
        max_window_layers=2)
variant("qwen3-layer-types", head_dim=16, use_sliding_window=True, sliding_window=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"])


def randomize(model, large_key_bias):
    """Weights large enough that attention is neither uniform nor one-hot; norms around 1; biases that matter."""
    for name, p in model.named_parameters():
        r = torch.randn(p.shape)
        p.data = 1 + 0.3 * r if "norm" in name else 0.7 * r if name.endswith("bias") else 0.28 * r
        if large_key_bias and name.endswith("k_proj.bias"):  # as in real Qwen2: a few channels that turn slowly
            heads = p.data.view(model.config.num_key_value_heads, -1)
            half = heads.shape[1] // 2
            heads[0, half - 1], heads[1, -1] = 612.0, -476.0


def v4_dialect(config, type_key):
    """The config.json that transformers 4 had for this model."""
    c = copy.deepcopy(config)
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope.pop("rope_theta")
    rope_type = rope.pop("rope_type")
    c["rope_scaling"] = None if rope_type == "default" else {type_key: rope_type, **rope}
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.55.4"
    if c["model_type"] == "llama":  # older Llama configs leave out what follows from other keys
        if c["head_dim"] == c["hidden_size"] // c["num_attention_heads"]:
            del c["head_dim"]
        if c["num_key_value_heads"] == c["num_attention_heads"]:
            del c["num_key_value_heads"]
    if c["model_type"].startswith("qwen"):
        from_window_layers = ["sliding_attention" if c["use_sliding_window"] and i >= c["max_window_layers"]
                              else "full_attention" for i in range(c["num_hidden_layers"])]
        if c["layer_types"] == from_window_layers:  # most of transformers 4 had max_window_layers only
            del c["layer_types"]
        if not c["use_sliding_window"]:  # and it kept an unused window in the file
            c["sliding_window"], c["max_window_layers"] = 16, 1
    return dict(sorted(c.items()))


class Recorder(DynamicCache):
    """A KV cache that notes the absmax of what is written to it: [kv heads] for K and V of each layer."""

    def __init__(self, config):
        super().__init__(config=config)
        self.seen = {}

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        assert layer_idx not in self.seen and key_states.dtype == torch.float32
        self.seen[layer_idx] = torch.stack([x.abs().amax(dim=(0, 2, 3)) for x in (key_states, value_states)])
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)


def load(folder, config, attention="eager"):
    model, info = AutoModel.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation=attention,
                                            output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"] and set(info["unexpected_keys"]) <= {"lm_head.weight"}
    return model.eval()


def losses(folder, prompts):
    """Per prompt, run as the first one."""
    model = family_golden.load_folder(folder, AutoConfig.from_pretrained(folder / "config.json"), {"extra": {}})
    return [loss for ids in prompts for loss in family_golden.run(model, [ids]).loss]


@torch.inference_mode()
def absmax(model, prompts, fresh_rope=True):
    """[layers, 2 (K, V), kv heads], over all prompts, each run alone."""
    rows = []
    for ids in prompts:
        if fresh_rope:  # forget the longest sequence so far (dynamic RoPE)
            model.rotary_emb = type(model.rotary_emb)(model.config)
        cache = Recorder(model.config)
        model(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True)
        rows.append(torch.stack([cache.seen[i] for i in range(model.config.num_hidden_layers)]))
    return torch.stack(rows).amax(dim=0)


def change(a, b):
    return ((a - b).abs() / b).max().item()


def altered_configs(config):
    """The config with one setting under test taken away or changed: each must change the golden values."""
    def with_(**changes):
        return {**copy.deepcopy(config), **changes}

    rope = config["rope_parameters"]
    yield "rope_theta", with_(rope_parameters={**rope, "rope_theta": rope["rope_theta"] * 2})
    yield "rms_norm_eps", with_(rms_norm_eps=config["rms_norm_eps"] * 100)
    yield "hidden_act", with_(hidden_act="gelu" if config["hidden_act"] != "gelu" else "gelu_pytorch_tanh")
    if rope["rope_type"] != "default":
        yield "rope scaling", with_(rope_parameters={"rope_type": "default", "rope_theta": rope["rope_theta"]})
        for key in set(rope) - {"rope_type", "rope_theta"}:
            if key in ("factor", "low_freq_factor", "high_freq_factor"):
                yield key, with_(rope_parameters={**rope, key: rope[key] * 2})
            elif key == "original_max_position_embeddings":
                yield key, with_(rope_parameters={**rope, key: rope[key] * 4})
            else:  # optional keys
                yield key, with_(rope_parameters={k: v for k, v in rope.items() if k != key})
    if rope["rope_type"] == "dynamic":
        yield "max_position_embeddings", with_(max_position_embeddings=config["max_position_embeddings"] + 1)
    if config.get("sliding_window"):
        layers = config["num_hidden_layers"]
        full = ["full_attention"] * layers
        yield "no window", with_(sliding_window=None, **({"layer_types": full} if "layer_types" in config else {}))
        yield "window + 1", with_(sliding_window=config["sliding_window"] + 1)
        yield "window - 1", with_(sliding_window=config["sliding_window"] - 1)
        if "layer_types" in config:
            for i in range(layers - 1):  # what the last layer attends to is never cached
                types = list(config["layer_types"])
                types[i] = "full_attention" if types[i] == "sliding_attention" else "sliding_attention"
                yield f"layer_types[{i}]", with_(layer_types=types)


def has_effect(name, layers):
    """Whether this weight reaches any K or V: the last layer's attention output and MLP do not."""
    last = name.startswith(f"layers.{layers - 1}.")
    return name != "norm.weight" and not (last and any(
        part in name for part in ("q_proj", "q_norm", "o_proj", "mlp.", "post_attention_layernorm")))


@torch.no_grad()
def weights_without_effect(model, prompts, golden):
    for name, p in model.named_parameters():
        saved = p.detach().clone()
        p.fill_(1.0 if "norm" in name else 0.0)
        if (change(absmax(model, prompts), golden) > 1e-3) != has_effect(name, model.config.num_hidden_layers):
            yield name
        p.copy_(saved)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def make_checkpoint(name, v):
    folder = HERE / "checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(v["seed"])
    auto = AutoModel if v["base_model"] else AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model(v["model_type"], **copy.deepcopy(v["config"])))
    randomize(model, v["large_key_bias"])
    model.to(v["dtype"]).save_pretrained(folder, **({"max_shard_size": v["shard"]} if v["shard"] else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.v4.json", v4_dialect(config, v["v4_type_key"]))

    rng = random.Random(v["seed"])
    prompts = [[rng.randrange(128) for _ in range(n)] for n in v["lengths"]]
    model = load(folder, AutoConfig.from_pretrained(folder / "config.json"))
    golden = absmax(model, prompts)

    same = absmax(load(folder, AutoConfig.from_pretrained(folder / "config.v4.json")), prompts)
    assert torch.equal(same, golden), f"{name}: config.v4.json gives other values"
    sdpa = change(absmax(load(folder, AutoConfig.from_pretrained(folder / "config.json"), "sdpa"), prompts), golden)
    assert sdpa < 1e-5, f"{name}: eager and sdpa differ by {sdpa}"
    effects = {}
    for label, altered in altered_configs(config):
        effects[label] = change(absmax(load(folder, AutoConfig.for_model(**altered)), prompts), golden)
    if v["config"]["rope_parameters"]["rope_type"] == "dynamic":
        effects["memory of earlier prompts"] = change(absmax(model, prompts, fresh_rope=False), golden)
    for label, effect in effects.items():
        assert effect > 1e-4, f"{name}: {label} hardly changes the values ({effect})"
    wrong = list(weights_without_effect(model, prompts, golden))
    assert not wrong, f"{name}: effect of {wrong} is not as foreseen"
    assert not v["large_key_bias"] or golden[:, 0].max() > 448
    assert len(list(folder.glob("*.safetensors"))) > 1 or not v["shard"]

    layers = ",\n  ".join(json.dumps({"k": k.tolist(), "v": v_.tolist()}) for k, v_ in golden)
    ids = ",\n  ".join(json.dumps(p) for p in prompts)
    modules = family_golden.attention_modules(folder, len(golden))
    sites = ",\n  ".join(json.dumps({"layer": i, "attention": modules[i]}) for i in range(len(golden)))
    loss = "" if v["base_model"] else f',\n "loss": {json.dumps(losses(folder, prompts))}'
    (folder / "expected.json").write_text(
        f'{{\n "made_with": {json.dumps(MADE_WITH)},\n "token_ids": [\n  {ids}\n ],\n "absmax": [\n  {layers}\n ],\n'
        f' "sites": [\n  {sites}\n ]{loss}\n}}\n')
    weakest = min(effects, key=effects.get)
    print(f"{name}: max |K| {golden[:, 0].max():.4g}, max |V| {golden[:, 1].max():.4g}, eager vs sdpa {sdpa:.1e}, "
          f"weakest setting: {weakest} {effects[weakest]:.1e}, {sum(f.stat().st_size for f in folder.iterdir())} bytes")


def rope_rows():
    llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=8192)
    qwen = dict(rope_type="yarn", rope_theta=1000000.0, factor=4.0, original_max_position_embeddings=32768)
    deepseek = dict(rope_type="yarn", rope_theta=10000.0, factor=40.0, original_max_position_embeddings=4096,
                    beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0)
    linear = dict(rope_type="linear", rope_theta=10000.0, factor=4.0)
    dynamic = dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0)

    def row(name, rope=None, n=100, head_dim=128, max_positions=4096, **keys):
        config = {"head_dim": head_dim, "max_position_embeddings": max_positions}
        return name, {**config, **({"rope_parameters": rope} if rope else {}), **keys}, n

    def without(rope, *keys):
        return {k: v for k, v in rope.items() if k not in keys}

    yield row("default-theta-10000", dict(rope_type="default", rope_theta=10000.0))
    yield row("default-theta-500000", dict(rope_type="default", rope_theta=500000.0))
    yield row("default-head-dim-64", dict(rope_type="default", rope_theta=1000000.0), head_dim=64)
    yield row("default-no-theta", dict(rope_type="default"))
    yield row("default-no-rope-keys")
    yield row("default-v4", rope_theta=500000.0, rope_scaling=None)
    yield "default-head-dim-from-heads", {"hidden_size": 96, "num_attention_heads": 4, "max_position_embeddings": 64,
                                          "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, 100
    yield row("theta-inside-wins", dict(rope_type="default", rope_theta=500000.0), rope_theta=10000.0)
    yield row("linear", linear)
    yield row("linear-v4-type", rope_theta=1000000.0, rope_scaling=dict(type="linear", factor=2.5))
    for n in (1, 4095, 4096, 4097, 6000, 8192, 16384):
        yield row(f"dynamic-{n}", dynamic, n)
    yield row("dynamic-v4-type-100-of-64", n=100, head_dim=16, max_positions=64, rope_theta=10000.0,
              rope_scaling=dict(type="dynamic", factor=4.0))
    yield row("llama3-llama-3.1-8b", llama3, max_positions=131072)
    yield row("llama3-llama-3.2-1b", dict(llama3, factor=32.0), head_dim=64, max_positions=131072)
    yield row("llama3-v4", max_positions=131072, rope_theta=500000.0, rope_scaling=without(llama3, "rope_theta"))
    yield row("yarn-qwen2.5", qwen, max_positions=131072)
    yield row("yarn-qwen2.5-max-positions-not-raised", qwen, max_positions=32768)
    yield row("yarn-qwen2.5-v4-type", max_positions=32768, rope_theta=1000000.0,
              rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=32768))
    yield row("yarn-no-original", without(qwen, "original_max_position_embeddings"), max_positions=32768)
    yield row("yarn-original-outside-wins", qwen, max_positions=131072, original_max_position_embeddings=8192)
    yield row("yarn-factor-null", dict(qwen, factor=None), max_positions=65536)
    yield row("yarn-factor-1", dict(qwen, factor=1.0), max_positions=32768)
    yield row("yarn-deepseek-v3", deepseek, head_dim=64, max_positions=163840)
    yield row("yarn-mscale-pair", dict(deepseek, mscale=0.707, mscale_all_dim=0.5), head_dim=64, max_positions=163840)
    yield row("yarn-mscale-alone", without(dict(deepseek, mscale=0.707), "mscale_all_dim"), max_positions=163840)
    yield row("yarn-mscale-all-dim-zero", dict(deepseek, mscale=0.707, mscale_all_dim=0.0), max_positions=163840)
    yield row("yarn-attention-factor", dict(qwen, attention_factor=1.25), max_positions=131072)
    yield row("yarn-attention-factor-over-mscale", dict(deepseek, mscale_all_dim=0.5, attention_factor=1.1),
              max_positions=163840)
    yield row("yarn-betas", dict(qwen, beta_fast=16.0, beta_slow=2.0), max_positions=131072)
    yield row("yarn-no-truncate", dict(qwen, truncate=False), max_positions=131072)
    yield row("yarn-no-truncate-gpt-oss", dict(rope_type="yarn", rope_theta=150000.0, factor=32.0, beta_fast=32.0,
              beta_slow=1.0, original_max_position_embeddings=4096, truncate=False), head_dim=64, max_positions=131072)
    yield row("yarn-tiny", dict(YARN, rope_theta=10000.0), head_dim=16, max_positions=64)


def make_rope():
    rows = []
    for name, config, n in rope_rows():
        c = LlamaConfig(**copy.deepcopy(config))
        rope_type = c.rope_parameters["rope_type"]
        if rope_type == "default":
            inv_freq, attention_factor = LlamaRotaryEmbedding.compute_default_rope_parameters(c)
        else:  # a tensor, as the model's forward pass has it
            inv_freq, attention_factor = ROPE_INIT_FUNCTIONS[rope_type](c, seq_len=torch.tensor(n))
        module = LlamaRotaryEmbedding(c)  # and what a model uses for a prompt of n tokens
        module(torch.zeros(1), torch.arange(n)[None])
        assert torch.equal(module.inv_freq, inv_freq) and module.attention_scaling == attention_factor, name
        rows.append({"name": name, "config": config, "sequence_length": n, "inv_freq": inv_freq.tolist(),
                     "attention_factor": attention_factor})
    (HERE / "rope.json").write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    print(f"rope.json: {len(rows)} rows")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    chosen = lambda name: any(fnmatch.fnmatch(name, pattern) for pattern in sys.argv[1:] or "*")
    if chosen("rope.json"):
        make_rope()
    if chosen("wrapper-configs.json"):
        wrapper_golden.make_defaults(HERE / "wrapper-configs.json")
    for name, v in VARIANTS.items():
        if chosen(name):
            make_checkpoint(name, v)
    for name, golden in FAMILIES.items():
        if chosen(name):
            family_golden.make(name, golden)
    for name, golden in WRAPPERS.items():
        if chosen(name):
            wrapper_golden.make(name, golden)
    size = sum(f.stat().st_size for f in (HERE / "checkpoints").rglob("*") if f.is_file())
    print(f"{len(VARIANTS) + len(FAMILIES) + len(WRAPPERS)} checkpoints, {size} bytes")
