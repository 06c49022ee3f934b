"""The other side of moe-layer.js: the first layer of a checkpoint with experts in transformers, float32 on the CPU.

    moe_layer.py CHECKPOINT TOKENS

Prints the implementations of experts that it has, as JSON; then, for each line of its input, the seconds of one run with
each of them, and the processor's.
"""

import json
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import AutoModel

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
checkpoint, tokens = sys.argv[1], int(sys.argv[2])
model = AutoModel.from_pretrained(checkpoint, num_hidden_layers=1, dtype=torch.float32, attn_implementation="sdpa").eval()
layer = model.layers[0]
hidden = torch.rand(1, tokens, model.config.hidden_size) * 2 - 1  # [1, tokens, hidden]
positions = model.rotary_emb(hidden, torch.arange(tokens)[None])


def timed(implementation):
    for module in layer.modules():
        if hasattr(module, "config"):
            module.config._experts_implementation = implementation
    start, used = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        layer(hidden, position_embeddings=positions, attention_mask=None)
    return {"seconds": time.perf_counter() - start, "processorSeconds": time.process_time() - used}


IMPLEMENTATIONS = ("eager", "grouped_mm")
print(json.dumps(IMPLEMENTATIONS), flush=True)
for _ in sys.stdin:
    print(json.dumps({implementation: timed(implementation) for implementation in IMPLEMENTATIONS}), flush=True)
