#!/usr/bin/env python
"""Golden values of verify: what transformers predicts when its KV cache keeps K and V in another format.

Run:    python test/golden/make_verify_golden.py
Needs:  transformers 5.23.0, torch 2.13.0 (CPU is enough; takes a few seconds). Seeded: same versions, same file.

Writes verify.json next to this script. Per checkpoint:

folder      from the repository's root
windows     token ids. Each window runs alone, in fp32, in one pass
arms        by name; each with
  format    what the cache stores: every K (after q/k norm and RoPE) and V becomes
            clamp(x / scale, -largest, largest).to(format) * scale, and attention reads that
  scales    {k, v} by layer, float32; absent: 1
  nll       negative log-likelihood of the token that follows, nats; windows one behind the other
  kl        KL divergence of the same positions from the arm "exact", nats (absent there)
  top       most likely token
  layers    per layer that writes a cache (the last ones of gemma4_text read those of earlier layers) and side: saturated (elements with |x / scale| > largest), signal (sum of x^2),
            noise (sum of (x - kept)^2), absmax (of x)

Scales are 0.9 times absmax / 448, so that the largest values saturate whatever the last bit of x is.
"""
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, DynamicCache

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
EXAMPLE = "examples/tiny-llama"
GOLDEN = "test/golden/checkpoints/"
LENGTHS = {EXAMPLE: [110, 40, 97], GOLDEN + "llama-gqa": [90, 41], GOLDEN + "mistral-sliding-window": [90, 41],
           GOLDEN + "qwen3-sliding": [90, 41], GOLDEN + "gemma4_text-e-model-bare": [24, 20, 16]}
TEXT = """The harbour master wrote down every boat that came in before the storm, and the names of those who were aboard.
When the wind turned in the night, three of them were still missing. Nobody slept. The children sat on the stairs and
listened to the windows, and their mother told them the story of the old lighthouse again: how its keeper once carried
the lamp down to the beach by hand, because the stairs had fallen, and stood there until the morning with the water up
to his knees. In the first grey light a sail was seen behind the island, then a second one. The third boat came in two
days later, towed by a fishing boat from the north, with a broken mast and a crew that had eaten nothing but apples.
A cache keeps what was computed before, so that it does not have to be computed again. A smaller number format makes
room for more of it, but every number that is stored loses a little of what it was."""
FORMATS = {"bfloat16": (torch.bfloat16, None), "float16": (torch.float16, 65504.0), "float8_e4m3fn": (torch.float8_e4m3fn, 448.0),
           "float8_e4m3fnuz": (torch.float8_e4m3fnuz, 240.0), "float8_e5m2": (torch.float8_e5m2, 57344.0)}


class RoundingCache(DynamicCache):
    def __init__(self, config, arm, seen):
        super().__init__(config=config)
        self.arm, self.seen = arm, seen

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        kept = [self.keep(x, side, layer_idx) for side, x in (("k", key_states), ("v", value_states))]
        return super().update(*kept, layer_idx, *args, **kwargs)

    def keep(self, x, side, layer):
        assert x.dtype == torch.float32
        scale = torch.tensor(self.arm["scales"][side][layer] if "scales" in self.arm else 1.0)
        kept, saturated = x, 0
        if self.arm["format"] != "float32":
            dtype, largest = FORMATS[self.arm["format"]]
            scaled = x / scale
            if largest is not None:
                saturated = int((scaled.abs() > largest).sum())
                scaled = scaled.clamp(-largest, largest)
            kept = scaled.to(dtype).float() * scale
        sums = self.seen[layer][side]
        sums["saturated"] += saturated
        sums["signal"] += x.double().square().sum().item()
        sums["noise"] += (x - kept).double().square().sum().item()
        sums["absmax"] = max(sums["absmax"], x.abs().max().item())
        return kept


@torch.inference_mode()
def run(model, windows, arm):
    """Log-probabilities [positions, vocabulary] of all windows, and what each layer's cache lost."""
    none = lambda: {"saturated": 0, "signal": 0.0, "noise": 0.0, "absmax": 0.0}
    seen = [{"k": none(), "v": none()} for _ in range(model.config.num_hidden_layers)]
    # Attention of layers that share a cache reads what `update` gives back to its owner.
    logits = [model(input_ids=torch.tensor([ids]), past_key_values=RoundingCache(model.config, arm, seen),
                    use_cache=True).logits[0, :-1] for ids in windows]
    return torch.log_softmax(torch.cat(logits).double(), -1), [layer for layer in seen if layer["k"]["signal"] > 0]


def describe(log_p, seen, windows, exact):
    targets = torch.tensor([token for ids in windows for token in ids[1:]])
    result = {"nll": rounded(-log_p.gather(1, targets[:, None])[:, 0]), "top": log_p.argmax(-1).tolist()}
    if exact is not None:
        result["kl"] = rounded((exact.exp() * (exact - log_p)).sum(-1))
    short = lambda sums: {key: value if key == "saturated" else float(f"{value:.7g}") for key, value in sums.items()}
    return {**result, "layers": [{side: short(sums) for side, sums in layer.items()} for layer in seen]}


def rounded(values):
    return [float(f"{value:.7g}") for value in values.tolist()]


def token_ids(folder, lengths, vocabulary):
    if folder != EXAMPLE:
        generator = torch.Generator().manual_seed(len(folder))
        return [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in lengths]
    ids = Tokenizer.from_file(str(REPOSITORY / folder / "tokenizer.json")).encode(TEXT.replace("\n", " ")).ids
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    assert len(ids) >= sum(lengths), len(ids)
    return [ids[start:start + length] for start, length in zip(starts, lengths)]


def golden(folder, lengths):
    load = lambda attention: AutoModelForCausalLM.from_pretrained(
        REPOSITORY / folder, dtype=torch.float32, attn_implementation=attention).eval()
    model = load("eager")
    windows = token_ids(folder, lengths, model.config.vocab_size)
    exact = {"format": "float32"}
    exact_log_p, seen = run(model, windows, exact)
    scales_of = lambda factor: {side: [torch.tensor(factor * layer[side]["absmax"] / 448).item() for layer in seen]
                                for side in ("k", "v")}
    arms = {"exact": exact, "16-bit": {"format": "bfloat16"},
            "e4m3fn": {"format": "float8_e4m3fn", "scales": scales_of(0.9)},
            "e4m3fn at 1": {"format": "float8_e4m3fn"},
            "e4m3fnuz": {"format": "float8_e4m3fnuz", "scales": scales_of(1.8)},
            "e5m2": {"format": "float8_e5m2"}}
    for name, arm in arms.items():
        log_p, losses = run(model, windows, arm)
        again, _ = run(load("sdpa"), windows, arm)
        difference = (log_p - again).abs()  # rounding is not continuous: other kernels may round a tie the other way
        print(f"  {name}: eager and sdpa differ by {difference.max():.1e} at most, "
              f"{(log_p - again).mean(0).abs().max():.1e} in the mean")
        assert difference.max() < 1e-4 or name != "exact"
        assert name == "exact" or any(layer[side]["noise"] > 0 for layer in losses for side in ("k", "v"))
        arm.update(describe(log_p, losses, windows, None if name == "exact" else exact_log_p))
    return {"folder": folder, "windows": windows, "arms": arms}


if __name__ == "__main__":
    checkpoints = []
    for folder, lengths in LENGTHS.items():
        print(folder)
        checkpoints.append(golden(folder, lengths))
    lines = ",\n".join(json.dumps(checkpoint, separators=(",", ":")) for checkpoint in checkpoints)
    (HERE / "verify.json").write_text(f'{{"checkpoints":[\n{lines}\n]}}\n')
