"""How a family's golden is made from a line of families.py; make_golden.py is the command that runs it.

Each golden is a folder in checkpoints/, in the form that make_golden.py describes (config.json, config.v4.json,
model.safetensors, expected.json). expected.json says more than the older ones:

model_type, variant, script
token_ids    the prompts; each runs alone, unpadded, through a model of its own, in fp32, with eager attention and eager experts
absmax       per cache site, in the order of the layers: what was handed to DynamicCache.update, per KV head
sites        per cache site: its layer, and the attention module by its name in the checkpoint; layers that have a
             recurrence or a convolution in place of attention have none
shared       layers without a cache of their own: their attention module, and the layer whose K and V they read
loss         per prompt: mean negative log-likelihood of the tokens that follow, nats (teacher forcing)
experts      per layer with experts: how many tokens reached each expert, over all prompts. Absent where a model has none

Before it writes expected.json it asserts that both config dialects give the same values, that taking away any tensor
of the checkpoint changes them, and that changing any number, switch or name in config.json changes them, refuses to load
or asks for other tensors. What may change nothing is listed with its reason: INERT here, `inert` in families.py.
"""
import copy, json, random, re, shutil, zlib
from pathlib import Path

import torch, transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
MADE_WITH = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
SMALLEST_EFFECT = 1e-3  # relative, on some absmax or loss
WITHOUT_CACHE = ("linear_attention", "conv", "mlp", "moe")  # types of layers that write no K and V
K_PROJECTION = r"\.(k_proj|qkv_proj|query_key_value|Wqkv|c_attn)\.weight$"
EAGER = dict(attn_implementation="eager", experts_implementation="eager")

# Keys of config.json that change no prediction of a decoder in one pass, whatever the family.
INERT = {
    "token ids of the tokenizer": "bos_token_id eos_token_id pad_token_id eod_token_id sep_token_id unk_token_id",
    "training only": "attention_dropout initializer_range resid_pdrop embd_pdrop attn_pdrop emb_pdrop hidden_dropout "
                     "classifier_dropout residual_dropout embedding_dropout dropout layerdrop init_std "
                     "router_aux_loss_coef router_jitter_noise input_jitter_noise output_router_logits moe_jitter_eps "
                     "moe_loss_weight summary_first_dropout",
    "a head that a causal model has not": "summary_type summary_use_proj summary_proj_to_labels summary_activation",
    "says how to run, not what": "use_cache pretraining_tp transformers_version dtype architectures model_type "
                                 "is_decoder add_cross_attention reorder_and_upcast_attn return_dict",
    "says where the weight of the head lies": "tie_word_embeddings",
    "a limit that no prompt reaches, where the positions are not a table": "max_position_embeddings max_seq_len",
}
INERT_KEYS = {key for keys in INERT.values() for key in keys.split()}


def neutral_of(model):
    """What a tensor is at the start tells what it is worth nothing as: norm weights 1, of (1 + w) norms and biases 0."""
    return {name: float(x.flatten()[0]) if x.numel() and (x == x.flatten()[0]).all() else 0.0
            for name, x in model.state_dict().items()}


@torch.no_grad()
def randomize(model, golden, generator):
    """Weights large enough that attention is neither uniform nor one-hot; norms around 1; biases that matter."""
    neutral = neutral_of(model)
    for name, x in model.state_dict().items():
        r = torch.randn(x.shape, generator=generator)
        scale = 0.3 * r if x.dim() == 2 and x.shape[0] == 1 else 0.28 * r
        value = neutral[name] + 0.3 * r if "norm" in name or "ln_" in name else 0.7 * r if "bias" in name else scale
        for pattern, how in golden["weights"].items():
            if re.search(pattern, name):
                value = how(r, x)
        x.copy_(value)
    if golden["unreached"]:
        leave_one_expert_out(model, golden["unreached"])


def leave_one_expert_out(model, pattern):
    """The last expert of the first router is never among two chosen: of the first four, two always score above zero.

    Where the router has a bias for the choice, that alone keeps it out.
    """
    state = model.state_dict()
    name, router = next((name, x) for name, x in state.items() if re.search(pattern, name))
    bias = router if router.numel() == router.shape[-1] else state.get(name.replace("weight", "bias"))
    if bias is not None:
        bias.view(-1)[-1] = -20.0
    else:
        router[1], router[3], router[-1] = -router[0], -router[2], 0.003 * router[-1]


def copies_of_kv_heads(config):
    """How often transformers writes each KV head into its cache: Falcon's newer layout has one per query head there,
    where engines have one per KV head."""
    if getattr(config, "new_decoder_architecture", False):
        return config.num_attention_heads // config.num_kv_heads
    return 1


class Recorder(DynamicCache):
    """A KV cache that notes what is written to it: absmax [kv heads] of K and of V of each layer."""

    def __init__(self, config):
        super().__init__(config=config)
        self.seen = {}
        self.copies = copies_of_kv_heads(config)

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        assert layer_idx not in self.seen and key_states.dtype == value_states.dtype == torch.float32
        assert key_states.shape[:-1] == value_states.shape[:-1] and key_states.shape[0] == 1
        heads = [x.abs().amax(dim=(0, 2, 3)).view(-1, self.copies) for x in (key_states, value_states)]
        assert all((x == x[:, :1]).all() for x in heads)
        self.seen[layer_idx] = [x[:, 0] for x in heads]
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)


class Result:
    """What one model says of all prompts."""

    def __init__(self):
        self.absmax, self.loss, self.experts = {}, [], {}

    def add(self, seen, loss):
        for layer, sides in seen.items():
            before = self.absmax.get(layer, sides)
            self.absmax[layer] = [torch.maximum(a, b) for a, b in zip(before, sides)]
        self.loss.append(loss)

    def change(self, other):
        """The largest relative change of any number. Infinite where not the same layers or heads have a cache."""
        if self.shape() != other.shape():
            return float("inf")
        numbers = [torch.cat([*(x for _, sides in sorted(r.absmax.items()) for x in sides), torch.tensor(r.loss)])
                   for r in (self, other)]
        change = ((numbers[0] - numbers[1]).abs() / numbers[1].abs()).max().item()
        return float("inf") if change != change else change

    def shape(self):
        return [(layer, [len(x) for x in sides]) for layer, sides in sorted(self.absmax.items())]


def forget_longest(model):
    """Dynamic RoPE and longrope otherwise remember longer, earlier prompts."""
    for module in model.modules():
        if hasattr(module, "original_inv_freq"):
            module.__init__(module.config)


@torch.inference_mode()
def run(model, prompts):
    result = Result()
    hooks = [module.register_forward_pre_hook(count_experts(result, name)) for name, module in model.named_modules()
             if re.search(r"\.experts$", name)]
    hooks += [module.register_forward_hook(count_scored(result, name)) for name, module in model.named_modules()
              if type(module).__name__ == "Llama4Router"]
    for ids in prompts:
        forget_longest(model)
        cache = Recorder(model.config.get_text_config(decoder=True))
        logits = model(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True).logits[0, :-1]
        log_p = torch.log_softmax(logits.double(), -1)
        result.add(cache.seen, -log_p.gather(1, torch.tensor(ids[1:])[:, None]).mean().item())
    for hook in hooks:
        hook.remove()
    return result


def count_experts(result, name):
    layer = int(re.search(r"\.(\d+)\.", name)[1])

    def hook(module, arguments):
        chosen = next((x for x in arguments if torch.is_tensor(x) and x.dtype == torch.int64), None)
        if chosen is not None:
            counts = torch.bincount(chosen.flatten(), minlength=module.num_experts)[:module.num_experts]
            result.experts[layer] = result.experts.get(layer, 0) + counts
    return hook


def count_scored(result, name):
    """Llama 4 sends all tokens to all experts, and zeros to those that were not chosen."""
    layer = int(re.search(r"\.(\d+)\.", name)[1])

    def hook(module, arguments, scores):
        result.experts[layer] = result.experts.get(layer, 0) + (scores[0] > 0).sum(0)
    return hook


# --- config.json ------------------------------------------------------------------------------------------------------

def with_plain_floats(value):
    """transformers 5 writes Infinity as {"__float__": "Infinity"}, older ones as Python does."""
    if isinstance(value, dict):
        return float(value["__float__"]) if "__float__" in value else {key: with_plain_floats(x) for key, x in value.items()}
    return [with_plain_floats(x) for x in value] if isinstance(value, list) else value


def v4_dialect(config, golden):
    """The config.json that people have: as transformers 4, or the code of the model's makers, wrote it."""
    c = with_plain_floats(copy.deepcopy(config))
    how = golden["v4"]
    rope = c.pop("rope_parameters", None)
    if "rope" in how:
        how["rope"](c, rope)
    elif rope and any(isinstance(value, dict) for value in rope.values()):
        c["rope_parameters"] = rope
    elif rope:
        c["rope_theta"] = rope.pop("rope_theta")
        if "partial_rotary_factor" in rope:
            c["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        rope_type = rope.pop("rope_type")
        for key in how.get("drop_rope", ()):
            del rope[key]
        c["rope_scaling"] = None if rope_type == "default" else {how.get("type_key", "rope_type"): rope_type, **rope}
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.55.4"
    for old, new in how.get("rename", {}).items():
        c[new] = c.pop(old)
    for key in how.get("drop", ()):
        del c[key]
    c.update(how.get("add", {}))
    return dict(sorted(c.items()))


def alterations(config, path=()):
    """(path, config with that value changed) for every number, switch and name in it."""
    for key, value in config.items():
        here = (*path, key)
        if isinstance(value, dict):
            for found, inner in alterations(value, here):
                yield found, {**config, key: inner}
        elif isinstance(value, list):
            for index, item in enumerate(value):
                others = [x for x in value if x != item]
                for other in altered(key, item, others[0] if others else None):
                    yield (*here, index), {**config, key: [*value[:index], other, *value[index + 1:]]}
        else:
            for other in altered(key, value):
                yield here, {**config, key: other}


def altered(key, value, other=None):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        if key == "original_max_position_embeddings" or "theta" in key:
            return [value * 4]
        return [value + 1 if other is None else other]
    if isinstance(value, float):
        return [value * (100 if "eps" in key else 4 if "beta" in key else 2) if value else 0.5]
    if key in ("hidden_act", "hidden_activation", "activation_function", "activation"):
        return ["gelu" if value == "silu" else "silu"]
    if key == "rope_type" and value != "default":
        return ["default"]
    return [] if other is None else [other]


def build(config):
    config = AutoConfig.for_model(**copy.deepcopy(config))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, **EAGER).eval()


def settings_without_effect(config, state, prompts, golden, expected, build=build):
    for path, changed in alterations(config):
        key = ".".join(map(str, path))
        if path[0] in INERT_KEYS or path[-1] in INERT_KEYS or any(re.fullmatch(p, key) for p in golden["inert"]):
            continue
        try:
            model = build(changed)
            model.load_state_dict(state)
            effect = run(model, prompts).change(expected)
        except Exception:  # other tensors, or a config that transformers refuses
            continue
        if effect < SMALLEST_EFFECT:
            yield key, effect


@torch.no_grad()
def tensors_without_effect(model, prompts, golden, expected, neutral):
    done = set()
    for name, x in model.state_dict().items():
        if x.data_ptr() in done or any(re.search(p, name) for p in golden["inert"]):
            continue
        done.add(x.data_ptr())
        saved = x.clone()
        x.fill_(-1e4 if "sink" in name else neutral[name])
        effect = run(model, prompts).change(expected)
        x.copy_(saved)
        if effect < SMALLEST_EFFECT:
            yield name, effect


# --- the files --------------------------------------------------------------------------------------------------------

def attention_modules(folder, saved=""):
    """By layer with attention, its module's name in the checkpoint: where the K projection lies."""
    names = [name for file in folder.glob("*.safetensors") for name in safe_open(file, "pt").keys() if name.startswith(saved)]
    found = {}
    for projection in (K_PROJECTION, r"\.q_proj\.weight$"):  # a layer that shares K and V may have no K projection
        for name in names:
            if re.search(projection, name):
                module = re.sub(projection, "", name)
                found.setdefault(int(re.search(r"\.(\d+)\.", f".{module}.")[1]), module)
    return found


def layers_read(config):
    """By layer without a cache of its own: the layer whose K and V it reads, the last of its type that has one."""
    modes = getattr(config, "kv_sharing_modes", [None] * config.num_hidden_layers)
    store = {config.layer_types[layer]: layer for layer, mode in enumerate(modes) if mode == "store"}
    return {layer: store[config.layer_types[layer]] for layer, mode in enumerate(modes) if mode == "reuse"}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


class Weak(Exception):
    """Something matters less than it should: other weights may do."""


def make(name, golden):
    for attempt in range(8):
        try:
            return attempt_to_make(name, golden, zlib.crc32(name.encode()) + attempt)
        except Weak as weak:
            print(f"    {weak}: other weights")
    raise AssertionError(f"{name}: eight times too weak")


def attempt_to_make(name, golden, seed):
    folder = CHECKPOINTS / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    config = AutoConfig.for_model(golden["model_type"], **copy.deepcopy(golden["config"]))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **EAGER)
    neutral = neutral_of(model)
    for key in neutral:
        if any(re.search(pattern, key) for pattern in golden["neutral"]):
            neutral[key] = next(value for pattern, value in golden["neutral"].items() if re.search(pattern, key))
    randomize(model, golden, torch.Generator().manual_seed(seed))
    save(model, folder, golden)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.v4.json", v4_dialect(config, golden))

    rng = random.Random(seed)
    prompts = [[rng.randrange(config["vocab_size"]) for _ in range(n)] for n in golden["lengths"]]
    load = lambda file: load_folder(folder, AutoConfig.from_pretrained(folder / file), golden)
    model = load("config.json")
    expected = run(model, prompts)
    same = run(load("config.v4.json"), prompts).change(expected)
    assert same == 0, f"{name}: config.v4.json gives other values ({same})"

    if golden["unreached"]:
        if expected.experts[min(expected.experts)][-1] > 0:
            raise Weak(f"{name}: the last expert has tokens: {expected.experts}")
    if any((counts > 0).sum() <= len(counts) // 2 for counts in expected.experts.values()):
        raise Weak(f"{name}: routed to few experts: {expected.experts}")
    state = {key: x.clone() for key, x in model.state_dict().items()}
    wrong = [*tensors_without_effect(model, prompts, golden, expected, neutral),
             *settings_without_effect(config, state, prompts, golden, expected)]
    if wrong and all(effect > 0 for _, effect in wrong):
        raise Weak(f"{name}: weak: {wrong}")
    assert not wrong, f"{name}: without effect: {wrong}"
    write_expected(folder, name, golden, prompts, expected, model)
    print(f"{name}: loss {expected.loss}, {sum(f.stat().st_size for f in folder.iterdir())} bytes", flush=True)


def save(model, folder, golden):
    kept = [*(model._keep_in_fp32_modules or []), *(model._keep_in_fp32_modules_strict or [])]
    for key, x in [*model.named_parameters(), *model.named_buffers()]:
        if x.is_floating_point() and key in model.state_dict() and not any(part in key for part in kept):
            x.data = x.data.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    stale = {name: torch.randn(shape, dtype=torch.bfloat16) for name, shape in golden["extra"].items()}
    if golden["stale"]:
        for layer, source in layers_read(model.config).items():
            for key, x in model.state_dict().items():
                if re.search(rf"layers\.{source}\.self_attn\.(k_proj|v_proj|k_norm)", key):
                    stale[key.replace(f"layers.{source}.", f"layers.{layer}.")] = torch.randn_like(x)
    state = {**model.state_dict(), **stale}
    if golden["layout"]:
        model.save_pretrained(folder, state_dict=golden["layout"](state, model.config), save_original_format=False)
    else:
        model.save_pretrained(folder, state_dict=state if stale else None)
    (folder / "generation_config.json").unlink(missing_ok=True)


def load_folder(folder, config, golden):
    model, info = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32,
                                                       output_loading_info=True, **EAGER)
    assert not any(info[kind] for kind in ("missing_keys", "mismatched_keys")), info
    assert set(info["unexpected_keys"]) <= set(golden["extra"]), info
    return model.eval()


def write_expected(folder, name, golden, prompts, expected, model):
    config = model.config.get_text_config(decoder=True)
    layers = config.num_hidden_layers
    modules = attention_modules(folder, golden.get("saved", ""))
    reads = layers_read(config)
    sites = sorted(expected.absmax)
    shared = [{"layer": layer, "attention": modules[layer], "reads": read} for layer, read in sorted(reads.items())]
    kinds = getattr(config, "layer_types", [])
    recurrent = {layer for layer, kind in enumerate(kinds) if kind in WITHOUT_CACHE}
    assert {*sites, *reads, *recurrent} == set(range(layers)), f"{sites}, {reads}, {kinds}"
    rows = lambda values: ",\n  ".join(json.dumps(value) for value in values)
    parts = {
        "made_with": json.dumps(MADE_WITH),
        "script": '"make_golden.py"',
        "model_type": json.dumps(golden["model_type"]),
        "variant": json.dumps(name.partition("-")[2]),
        "token_ids": f"[\n  {rows(prompts)}\n ]",
        "absmax": f"[\n  {rows(dict(zip('kv', (x.tolist() for x in expected.absmax[i]))) for i in sites)}\n ]",
        "sites": f"[\n  {rows({'layer': i, 'attention': modules[i]} for i in sites)}\n ]",
        "shared": f"[\n  {rows(shared)}\n ]" if shared else "[]",
        "loss": json.dumps(expected.loss),
    }
    if expected.experts:
        counts = [{"layer": layer, "tokens": counts.tolist()} for layer, counts in sorted(expected.experts.items())]
        parts["experts"] = f"[\n  {rows(counts)}\n ]"
    body = ",\n ".join(f'"{key}": {value}' for key, value in parts.items())
    (folder / "expected.json").write_text(f"{{\n {body}\n}}\n")
