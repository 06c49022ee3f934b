"""How a multimodal model's golden is made from a line of wrappers.py; make_golden.py is the command that runs it.

Each golden is a folder in checkpoints/, as family_golden.py describes it: transformers' class for the whole model, with
tiny towers, reads prompts of text. config.v4.json is what transformers 4 wrote: the decoder's config without what equals
its class's defaults, or its keys at the top (`flat`). Of the towers' tensors only some are kept: their names are like the
decoder's.
"""
import copy, json, random, re, shutil, zlib

import torch, transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import family_golden as family
from wrappers import DECODERS, SMALL, TINY, WRAPPERS

KEPT_OF_TOWERS = r"\b(layers|blocks)\.0\..*(k_proj|q_proj|qkv).*weight$"
MAX_BYTES_OF_TOWER = 2048
HEAD = r"(^|\.)lm_head\.weight$"
# Names of the decoder's tensors in a model in memory.
DECODER = r"^((model\.)?(language_model|text_model)\.|lm_head)"


def class_of(model_type):
    for kind in ("MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT", "SEQ_TO_SEQ_CAUSAL_LM"):
        name = getattr(modeling_auto, f"MODEL_FOR_{kind}_MAPPING_NAMES").get(model_type)
        if name is not None:
            return getattr(transformers, name)
    raise AssertionError(model_type)


def thinker_of(model):
    """The part that reads prompts."""
    return model.thinker if hasattr(model, "thinker") else model


def small(config):
    """A tower's config with small sizes."""
    is_number = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
    return {key: small(value) if isinstance(value, dict) else type(value)(SMALL[key]) if key in SMALL and is_number(value)
            else value for key, value in config.items()}


def config_of(model_type, golden):
    """The whole config, by its class."""
    default = CONFIG_MAPPING[model_type]()
    outer = default.thinker_config if hasattr(default, "thinker_config") else default
    decoder = outer.get_text_config(decoder=True)
    own = golden["text"].get("model_type", decoder.model_type)
    known = CONFIG_MAPPING[own]() if own != decoder.model_type else decoder
    text = {key: value for key, value in TINY.items() if hasattr(known, key)}
    text.update({key: 1e-3 for key in ("rms_norm_eps", "layer_norm_eps") if hasattr(known, key)})
    parts = {key: {**small(value), **golden["parts"].get(key, {})} for key, value in outer.to_dict().items()
             if isinstance(value, dict) and key.endswith("_config") and key != "text_config"}
    whole = {**parts, "text_config": {**text, "model_type": own, **golden["text"]}, **golden["top"]}
    if outer is default:
        return CONFIG_MAPPING[model_type](**copy.deepcopy(whole))
    return CONFIG_MAPPING[model_type](thinker_config=copy.deepcopy(whole), enable_audio_output=False)


def text_of(config):
    """The decoder's part of a config.json."""
    return config.get("thinker_config", config)["text_config"]


def v4_dialect(config, golden):
    c = copy.deepcopy(config)
    text = text_of(c)
    default = CONFIG_MAPPING[text["model_type"]]().to_dict()
    nested = family.v4_dialect({**text, "dtype": "bfloat16"}, golden) if "rope_parameters" in text else dict(text)
    if any(isinstance(value, dict) for value in text.get("rope_parameters", {}).values()):
        nested["rope_parameters"] = text["rope_parameters"]
    nested.pop("transformers_version", None)
    nested.pop("rope_scaling") if nested.get("rope_scaling", 0) is None else None
    if golden["flat"] and "rope_scaling" in nested:
        nested["rope_scaling"] = {**nested["rope_scaling"], "type": golden["flat"]}
        nested["rope_scaling"].pop("rope_type", None)
    sections = {key: value for key, value in text.get("rope_parameters", {}).items() if key.startswith("mrope")}
    if sections and "rope_scaling" not in nested:
        nested["rope_scaling"] = {"type": golden["flat"] or "default", **sections}
    if not golden["flat"]:
        nested = {key: value for key, value in nested.items()
                  if key == "model_type" or key in golden["keep"] or key not in default or default[key] != value}
    c["torch_dtype"] = c.pop("dtype", None)
    c["transformers_version"] = "4.51.3"
    if golden["flat"]:
        del c["text_config"]
        nested.pop("model_type")
        c.update({key: value for key, value in nested.items() if key not in c})
        c["tie_word_embeddings"] = config["tie_word_embeddings"]
    else:
        text.clear()
        text.update(nested)
    return dict(sorted(c.items()))


def without_defaults(config):
    """What every config says that is no setting of a model would only fill the file."""
    dull = {"id2label", "label2id", "output_attentions", "output_hidden_states", "return_dict", "problem_type", "_name_or_path",
            "chunk_size_feed_forward", "is_encoder_decoder", "talker_config", "token2wav_config", "code2wav_config"}
    return {key: without_defaults(value) if isinstance(value, dict) else value for key, value in config.items() if key not in dull}


def make(name, golden):
    for attempt in range(8):
        try:
            return attempt_to_make(name, golden, zlib.crc32(name.encode()) + attempt)
        except family.Weak as weak:
            print(f"    {weak}: other weights")
    raise AssertionError(f"{name}: eight times too weak")


def attempt_to_make(name, golden, seed):
    folder = family.CHECKPOINTS / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    cls = class_of(golden["model_type"])
    build = lambda config: cls._from_config(config, dtype=torch.float32, **family.EAGER).eval()
    model = build(config_of(golden["model_type"], golden))
    towers = {} if hasattr(model, "thinker") else {rf"^(?!{DECODER[1:]})": "towers"}
    golden = {**golden, "inert": {**golden["inert"], **towers}}
    neutral = family.neutral_of(thinker_of(model))
    family.randomize(thinker_of(model), golden, torch.Generator().manual_seed(seed))
    family.save(model, folder, golden)
    config = without_defaults(json.loads((folder / "config.json").read_text()))
    family.write_json(folder / "config.json", config)
    family.write_json(folder / "config.v4.json", v4_dialect(config, golden))

    rng = random.Random(seed)
    prompts = [[rng.randrange(text_of(config)["vocab_size"]) for _ in range(n)] for n in golden["lengths"]]
    load = lambda file: load_folder(cls, folder, AutoConfig.from_pretrained(folder / file))
    model = load("config.json")
    expected = family.run(thinker_of(model), prompts)
    same = family.run(thinker_of(load("config.v4.json")), prompts).change(expected)
    assert same == 0, f"{name}: config.v4.json gives other values ({same})"

    if golden["unreached"] and expected.experts[min(expected.experts)][-1] > 0:
        raise family.Weak(f"{name}: the last expert has tokens: {expected.experts}")
    if any((counts > 0).sum() <= len(counts) // 2 for counts in expected.experts.values()):
        raise family.Weak(f"{name}: routed to few experts: {expected.experts}")
    if towers:
        state = {key: x.clone() for key, x in model.state_dict().items()}
        changed = lambda text: build(AutoConfig.for_model(**{**copy.deepcopy(config), "text_config": copy.deepcopy(text)}))
        wrong = [*family.tensors_without_effect(model, prompts, golden, expected, neutral),
                 *family.settings_without_effect(config["text_config"], state, prompts, golden, expected, changed)]
        if wrong and all(effect > 0 for _, effect in wrong):
            raise family.Weak(f"{name}: weak: {wrong}")
        assert not wrong, f"{name}: without effect: {wrong}"
    keep_little_of_towers(folder, golden)
    family.write_expected(folder, name, golden, prompts, expected, model)
    for file in folder.iterdir():
        assert file.name in ("config.json", "config.v4.json", "model.safetensors", "expected.json"), file
    print(f"{name}: loss {expected.loss}, {sum(f.stat().st_size for f in folder.iterdir())} bytes", flush=True)


def load_folder(cls, folder, config):
    if hasattr(config, "thinker_config"):  # the parts that speak want files of voices
        cls, config = class_of(config.thinker_config.model_type), config.thinker_config
    model, info = cls.from_pretrained(folder, config=config, dtype=torch.float32, output_loading_info=True, **family.EAGER)
    assert not any(info[kind] for kind in ("missing_keys", "mismatched_keys", "unexpected_keys")), info
    return model.eval()


def keep_little_of_towers(folder, golden):
    file, saved = folder / "model.safetensors", golden["saved"]
    before, after = golden["released"] or (saved, saved)
    with safe_open(file, "pt") as tensors:
        all_of_them = {name.replace(before, after): tensors.get_tensor(name) for name in tensors.keys()}
        kept = {name: tensor for name, tensor in all_of_them.items()
                if name.startswith((f"{saved}layers.", f"{saved}embed_tokens", f"{saved}norm.", f"{saved}embedding_norm", f"{saved}embeddings.",
                                     f"{saved}norm_f.")) or re.search(HEAD, name)
                or (re.search(KEPT_OF_TOWERS, name) and tensor.nbytes <= MAX_BYTES_OF_TOWER)}
    assert any(name.startswith(f"{saved}layers.") for name in kept), (saved, list(kept))
    save_file(kept, file, metadata={"format": "pt"})
    file.chmod(0o644)


# --- what transformers takes for what a file leaves out ---------------------------------------------------------------

def make_defaults(path):
    """wrapper-configs.json: every wrapper's config as its class makes it, towers aside; and the decoders' configs alone."""
    wrappers = {model_type: plain(with_bare_decoder(model_type)) for model_type in sorted(
        {name.partition("-")[0] for name in WRAPPERS} | {"gemma3n", "fast_vlm", "perception_lm", "qwen3_5_moe", "minicpmv4_7", "minicpm_ocr"})}
    decoders = {model_type: without_defaults(CONFIG_MAPPING[model_type]().to_dict()) for model_type in DECODERS}
    rows = lambda configs: ",\n  ".join(f"{json.dumps(key)}: {json.dumps(config)}" for key, config in configs.items())
    path.write_text(f'{{\n "made_with": {json.dumps(family.MADE_WITH)},\n "wrappers": {{\n  {rows(wrappers)}\n }},\n "decoders": {{\n  '
                    f"{rows(decoders)}\n }}\n}}\n")
    print(f"{path.name}: {len(wrappers)} wrappers, {len(decoders)} decoders")


def with_bare_decoder(model_type):
    """As of a file whose decoder's config says nothing: without one, some classes take another size."""
    default = CONFIG_MAPPING[model_type]()
    if hasattr(default, "thinker_config"):
        return default
    fitting = {"adaptor_config": dict(hidden_size=4096, intermediate_size=1024)} if model_type == "fun_asr_nano" else {}
    return CONFIG_MAPPING[model_type](text_config={"model_type": default.get_text_config(decoder=True).model_type}, **fitting)


def plain(config):
    """Its config.json, without what is in towers."""
    config = without_defaults(config.to_dict())
    inner = ("text_config", "thinker_config")
    towers = lambda part: {key: {"model_type": value.get("model_type", "")} if isinstance(value, dict) and key.endswith("_config") and key not in inner
                           else value for key, value in part.items()}
    if "thinker_config" in config:
        config["thinker_config"] = towers(config["thinker_config"])
    return towers(config)
