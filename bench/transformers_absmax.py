"""The other side of the benchmark: the absmax of K and V with PyTorch and transformers, and scales from it.

Does the whole job of a calibration: loads a checkpoint, runs the prompts, writes k_scale and v_scale of each layer as
safetensors. Does it as fast as the library allows without a change to it: the decoder without its head, SDPA, batches
sorted by length, maxima that stay on the device until the end.

    transformers_absmax.py CHECKPOINT TOKENS OUTPUT [--device cuda:0] [--dtype bfloat16] [--batch-tokens 16384]

TOKENS is JSON: [prompts][tokens] of ids. Prints one JSON object: seconds and absmax of every layer with a cache.
"""

import argparse
import json
import math
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModel, DynamicCache

FLOAT8_E4M3FN_LARGEST = 448


class AbsmaxCache(DynamicCache):
    """Sees K, after rotation, and V on their way into the cache, and keeps their absmax instead of them."""

    def __init__(self, config, absmax, cached, padding):
        super().__init__(config=config)
        self.absmax = absmax  # [layers, k and v]
        self.cached = cached  # layers with a cache: of hybrids not all
        self.padding = padding  # [rows, 1, width, 1], true where there is no token; None when rows are equally long

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        self.cached.add(layer_idx)
        for side, states in enumerate((key_states, value_states)):  # [rows, kv_heads, width, head_dim]
            if self.padding is not None:
                states = states.masked_fill(self.padding, 0)
            found = torch.linalg.vector_norm(states, ord=math.inf).float()
            # maximum, unlike max of Python, passes NaN on.
            self.absmax[layer_idx, side] = torch.maximum(self.absmax[layer_idx, side], found)
        return key_states, value_states


def batches(prompts, batch_tokens):
    """Prompts of similar length together, rows x width of at most batch_tokens; longest first."""
    batch = []
    for prompt in sorted(prompts, key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > batch_tokens:
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


@torch.inference_mode()
def measure(model, prompts, device, batch_tokens):
    absmax = torch.zeros(model.config.num_hidden_layers, 2, dtype=torch.float32, device=device)  # [layers, k and v]
    cached = set()
    for batch in batches(prompts, batch_tokens):
        width = len(batch[0])
        ids = torch.tensor([prompt + [0] * (width - len(prompt)) for prompt in batch], device=device)  # [rows, width]
        lengths = torch.tensor([len(prompt) for prompt in batch], device=device)
        padded = any(len(prompt) < width for prompt in batch)
        # On the right, padding is later than every token: causal attention needs no mask for it, only the maxima do.
        padding = (torch.arange(width, device=device) >= lengths[:, None])[:, None, :, None] if padded else None
        # One for each batch: recurrent layers of hybrids keep a state in it, and would go on from the last batch's.
        model(input_ids=ids, past_key_values=AbsmaxCache(model.config, absmax, cached, padding), use_cache=True)
    found = absmax.tolist()  # waits for the device
    return {layer: found[layer] for layer in sorted(cached)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("tokens")
    parser.add_argument("output")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--batch-tokens", type=int, default=16384)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    device = torch.device(options.device)
    with open(options.tokens, encoding="utf-8") as file:
        prompts = json.load(file)

    start = time.perf_counter()
    # With a device map, weights go from the file to the device one by one; it needs the package accelerate.
    placed = transformers.utils.is_accelerate_available() and device.type != "cpu"
    loading = {"dtype": getattr(torch, options.dtype), **({"device_map": {"": device}} if placed else {})}
    try:
        model = AutoModel.from_pretrained(options.checkpoint, attn_implementation="sdpa", **loading)
    except ValueError:  # attention sinks have no SDPA in transformers
        model = AutoModel.from_pretrained(options.checkpoint, attn_implementation="eager", **loading)
    model = model.to(device).eval()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    loaded = time.perf_counter()
    absmax = measure(model, prompts, device, options.batch_tokens)
    done = time.perf_counter()

    scales = {}
    for layer, sides in absmax.items():
        for side, value in zip("kv", sides):
            if not (math.isfinite(value) and value > 0):
                raise SystemExit(f"Layer {layer}: absmax of {side.upper()} is {value}: no scale can be computed")
            name = f"model.layers.{layer}.self_attn.{side}_scale"
            scales[name] = torch.tensor([value / FLOAT8_E4M3FN_LARGEST], dtype=torch.float32)
    save_file(scales, options.output, metadata={"format": "pt"})
    print(
        json.dumps(
            {
                "tokens": sum(map(len, prompts)),
                "load_seconds": loaded - start,
                "compute_seconds": done - loaded,
                "device_map": placed,
                "absmax": [{"k": k, "v": v} for k, v in absmax.values()],
            }
        )
    )


if __name__ == "__main__":
    main()
