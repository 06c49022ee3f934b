#!/usr/bin/env python
"""Golden texts of verify --generate: what transformers generates greedily, token by token, when its KV cache rounds.

Run:    python test/golden/make_generate_golden.py
Needs:  transformers 5.23.0, torch 2.13.0 (CPU is enough; takes a few minutes). Seeded: same versions, same file.

Writes generate.json next to this script. Per checkpoint:

folder      from the repository's root
prompts     token ids
caches      by name; each with
  format    what the cache stores: every K (after q/k norm and RoPE) and V becomes
            clamp(x / scale, -largest, largest).to(format) * scale, for the token that is read, too
  scales    {k, v} by layer, float32; absent: 1
  tokens    per prompt, MAX_NEW_TOKENS token ids; no token ends a text

Prompts are random. Taken are those whose texts do not hang by a thread: two attention kernels of PyTorch generate the same,
and the most likely token is always ahead of the second by MARGIN at least. And caches must matter: over the prompts of a
checkpoint, at least one text of a cache of one byte differs from that of the exact cache.
"""
import json
from pathlib import Path

import torch
from make_verify_golden import EXAMPLE, GOLDEN, REPOSITORY, RoundingCache
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()
HERE = Path(__file__).resolve().parent
MAX_NEW_TOKENS = 24
MARGIN = 0.015
PROMPTS = 3
FOLDERS = [EXAMPLE, *(GOLDEN + name for name in (
    "llama-gqa", "llama-mha", "llama-mqa", "llama-f16", "llama-rope-dynamic", "llama-rope-yarn", "mistral-sliding-window",
    "qwen2-sliding-max-window-layers", "qwen2-large-key-bias", "qwen3-qk-norm", "qwen3-sliding"))]


def load(folder, attention):
    return AutoModelForCausalLM.from_pretrained(REPOSITORY / folder, dtype=torch.float32, attn_implementation=attention).eval()


def losses_of(model):
    none = lambda: {"saturated": 0, "signal": 0.0, "noise": 0.0, "absmax": 0.0}
    return [{"k": none(), "v": none()} for _ in range(model.config.num_hidden_layers)]


@torch.inference_mode()
def generate(folder, attention, prompt, cache):
    """Tokens, the smallest lead of a token over the second, and the absmax of what the cache was given."""
    model = load(folder, attention)  # a new one each time: dynamic RoPE remembers the longest sequence
    seen = losses_of(model)
    past = RoundingCache(model.config, cache, seen)
    unread, tokens, lead = prompt, [], float("inf")
    while len(tokens) < MAX_NEW_TOKENS:
        logits = model(input_ids=torch.tensor([unread]), past_key_values=past, use_cache=True).logits[0, -1]
        first, second = logits.topk(2).values.tolist()
        lead = min(lead, first - second)
        unread = [int(logits.argmax())]
        tokens += unread
    return tokens, lead, seen


def scales_of(seen, factor):
    return {side: [torch.tensor(factor * layer[side]["absmax"] / 448).item() for layer in seen] for side in ("k", "v")}


def golden(folder):
    config = load(folder, "eager").config
    generator = torch.Generator().manual_seed(len(folder))
    caches = {"exact": {"format": "float32"},
              "16-bit": {"format": "float16" if folder.endswith("f16") else "bfloat16"},
              "e4m3fn": {"format": "float8_e4m3fn"},
              "e4m3fnuz": {"format": "float8_e4m3fnuz"},
              "e5m2": {"format": "float8_e5m2"}}
    prompts, tokens = [], {name: [] for name in caches}
    tried = 0
    while len(prompts) < PROMPTS:
        tried += 1
        assert tried < 200, f"{folder}: no prompt is clear enough"
        length = (5, 38, 61)[len(prompts)]
        prompt = torch.randint(6, config.vocab_size, (length,), generator=generator).tolist()
        if "scales" not in caches["e4m3fn"]:
            _, _, seen = generate(folder, "eager", prompt, caches["exact"])
            caches["e4m3fn"]["scales"], caches["e4m3fnuz"]["scales"] = scales_of(seen, 0.9), scales_of(seen, 1.8)
        texts = {}
        for name, cache in caches.items():
            first, lead, _ = generate(folder, "eager", prompt, cache)
            second, _, _ = generate(folder, "sdpa", prompt, cache)
            if first != second or lead < MARGIN:
                break
            texts[name] = first
        if len(texts) == len(caches):
            prompts.append(prompt)
            for name in caches:
                tokens[name].append(texts[name])
    differing = [name for name in caches if tokens[name] != tokens["exact"]]
    print(f"{folder}: {tried} prompts tried; differ from the exact cache: {', '.join(differing)}")
    assert any(caches[name]["format"].startswith("float8") for name in differing)
    return {"folder": folder, "prompts": prompts,
            "caches": {name: {**cache, "tokens": tokens[name]} for name, cache in caches.items() if name != "exact"}}


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(golden(folder), separators=(",", ":")) for folder in FOLDERS)
    (HERE / "generate.json").write_text(f'{{"checkpoints":[\n{lines}\n]}}\n')
