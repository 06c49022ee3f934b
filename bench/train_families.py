"""Train small checkpoints of several families: weights with learned, uneven ranges on which to judge levels for serving.

    train_families.py CORPUS OUTPUT [--families qwen3,mixtral] [--steps 800] [--device cuda]

CORPUS is JSONL with "text". OUTPUT/<family>/ becomes a checkpoint in bfloat16, with the tokenizer of examples/tiny-llama.
Minutes on a GPU. The models are no use as language models, and no checkpoint of them is kept in the repository: what is
kept are the maxima of their keys and values. Fetches nothing from the network.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

TOKENIZER = Path(__file__).resolve().parent.parent / "examples" / "tiny-llama"
WIDTH = 1024

SIZES = {
    "vocab_size": 2304,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "tie_word_embeddings": True,
}
FAMILIES = {
    "llama": {},
    "qwen2": {"max_window_layers": 8},
    "qwen3": {"max_window_layers": 8},
    "gemma3_text": {"sliding_window": 256, "query_pre_attn_scalar": 32, "sliding_window_pattern": 4},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 256},
    "lfm2": {"full_attn_idxs": [1, 3, 5, 7], "block_ff_dim": 512, "block_auto_adjust_ff_dim": False},
}


def batches(corpus: Path, steps: int, rows: int, seed: int):
    """Rows of WIDTH tokens: the documents in a random order, one after another, each opened by the first token."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))
    texts = [json.loads(line)["text"] for line in corpus.read_text(encoding="utf-8").splitlines()]
    documents = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    generator = torch.Generator().manual_seed(seed)
    stream: list[int] = []
    for _ in range(steps):
        while len(stream) < rows * WIDTH:
            for index in torch.randperm(len(documents), generator=generator).tolist():
                stream += documents[index]
        yield torch.tensor(stream[: rows * WIDTH]).view(rows, WIDTH)
        del stream[: rows * WIDTH]


def train(family: str, corpus: Path, output: Path, steps: int, device: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SIZES, **FAMILIES[family]})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    warm = steps // 20 + 1
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.1 + 0.9 * (1 - step / steps))
    )
    for step, ids in enumerate(batches(corpus, steps, rows=32, seed=0)):
        ids = ids.to(device)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"{family}: step {step}, loss {loss.item():.3f}", flush=True)
    model.to(torch.bfloat16).save_pretrained(output / family)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / file, output / family / file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    for family in arguments.families.split(","):
        train(family, arguments.corpus, arguments.output, arguments.steps, arguments.device)


if __name__ == "__main__":
    main()
