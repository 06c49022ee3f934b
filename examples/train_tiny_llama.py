"""Train the small Llama checkpoint in examples/tiny-llama/.

What it is
    A six-layer Llama with grouped-query attention and its own byte-level BPE
    tokenizer, trained from nothing on calibration-data/calibration/*.jsonl. It
    is there so that create-kv-scales can be tried, and tested, on a checkpoint
    of real (learned, uneven) weights that is small enough to sit in the
    repository. It is not a useful language model.

How to run it
    pip install torch transformers tokenizers safetensors
    python examples/train_tiny_llama.py
    About ten minutes on two CPU cores. The seed is fixed, so the same versions
    on the same machine give the same files; another machine may round
    differently.

What it prints
    The loss on a slice of the training text, which decides when to stop, and at
    the end the perplexity per token and the bits per byte on
    calibration-data/held-out/held-out.jsonl, read back from the bfloat16 files
    just written, beside those of a unigram baseline.

What it refuses to do
    - use held-out text for the tokenizer, for training or for stopping, or start
      when a passage of held-out text also stands in the training text;
    - start when one of the seven calibration files is missing or incomplete;
    - write a folder of more than 4 MB, or a model whose held-out perplexity is
      not below half that of the unigram baseline;
    - fetch anything from the network.
"""

import argparse
import json
import math
import os
import random
import shutil
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # this and the next before torch and transformers are imported
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that spin are very slow on a busy machine

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parent.parent
FILES = ["prose", "long-documents", "dialogue", "mathematics", "structured", "code", "languages"]
MAX_FOLDER_BYTES = 4_000_000

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
SPECIAL = [BOS, EOS, PAD, "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

# config.json as transformers 4 wrote it (rope_theta, torch_dtype): most checkpoints still do.
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 448,
    "max_position_embeddings": 2048,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 6,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 2304,
}

TRAIN = {
    "tokens_per_step": 2048,
    "lengths": [512, 512, 512, 1024, 512, 512, 512, 2048],  # one per step, in turn
    "epochs": 24,
    "patience": 4,  # epochs without a better loss on the stopping slice
    "stop_every": 10,  # each tenth document of a file is for stopping only
    "learning_rate": 2e-3,
    "muon_learning_rate": 0.01,
    "weight_decay": 0.2,
    "dropout": 0.2,
    "ema": 0.98,
}


def read_jsonl(path):
    """The rows of a file; a file that does not end in a newline is still being written."""
    data = path.read_text(encoding="utf-8")
    if not data.endswith("\n"):
        raise SystemExit(f"{path.name}: does not end in a newline, so it may be incomplete")
    return [json.loads(line) for line in data.split("\n") if line.strip()]


def refuse_overlap(training, held_out, width=60):
    """Stop if any run of `width` characters of held-out text stands in the training text."""
    squeeze = lambda text: " ".join(text.split())
    seen = set()
    for text in map(squeeze, training):
        seen.update(text[i : i + width] for i in range(len(text) - width + 1))
    for row in held_out:
        text = squeeze(row["text"])
        for i in range(len(text) - width + 1):
            if text[i : i + width] in seen:
                raise SystemExit(f"held-out {row['id']} shares a passage with the training text: {text[i : i + width]!r}")


def train_tokenizer(texts, folder):
    """A byte-level BPE without a normalizer, digits one by one, in the style of Llama 3's file."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        # Not pre_tokenizers.Digits: tokenizers in JavaScript take ½ and ² for something else there.
        [pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=CONFIG["vocab_size"],
            special_tokens=SPECIAL,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0)]),
        ]
    )
    assert tokenizer.get_vocab_size() == CONFIG["vocab_size"]
    tokenizer.save(str(folder / "tokenizer.json"))
    token = lambda content: {
        "content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True,
    }
    write_json(folder / "tokenizer_config.json", {
        "added_tokens_decoder": {str(i): token(content) for i, content in enumerate(SPECIAL)},
        "bos_token": BOS,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "model_max_length": CONFIG["max_position_embeddings"],
        "pad_token": PAD,
        "tokenizer_class": "PreTrainedTokenizerFast",
    })
    return AutoTokenizer.from_pretrained(folder)


def document_ids(tokenizer, row):
    """A training document as ids: begin, text, end; or a conversation through the chat template."""
    if "messages" in row:
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
    else:
        text = BOS + row["text"] + EOS
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def plain_text(row):
    return row["text"] if "text" in row else "\n".join(message["content"] for message in row["messages"])


def add_dropout(model, p):
    """Llama has no dropout outside attention; this adds it after the embedding and every block."""
    hook = lambda module, _, output: F.dropout(output, p, module.training)
    attention_hook = lambda module, _, output: (F.dropout(output[0], p, module.training), *output[1:])
    handles = [model.model.embed_tokens.register_forward_hook(hook)]
    for layer in model.model.layers:
        handles.append(layer.mlp.register_forward_hook(hook))
        handles.append(layer.self_attn.register_forward_hook(attention_hook))
    return handles


@torch.no_grad()
def score(model, documents, window=2048, stride=1024):
    """Sum of -ln p over every token of every document but its first, and their number.

    A document longer than the window is read in overlapping windows, and each token is
    counted once, with at least `window - stride` tokens before it where there are as many.
    """
    model.eval()
    total, count = 0.0, 0
    for ids in documents:
        done = 1
        for start in range(0, len(ids), stride):
            piece = torch.tensor([ids[start : start + window]])
            logits = model(piece).logits[0].float()
            losses = F.cross_entropy(logits[:-1], piece[0, 1:], reduction="none")[done - start - 1 :]
            total += losses.double().sum().item()
            count += len(losses)
            done = start + piece.shape[1]
            if done == len(ids):
                break
    return total, count


def unigram(train_documents, documents):
    """The same sum for a model that knows only how frequent each token is (add-one smoothing)."""
    counts = torch.ones(CONFIG["vocab_size"], dtype=torch.float64)
    for ids in train_documents:
        counts += torch.bincount(torch.tensor(ids), minlength=len(counts))
    log_p = torch.log(counts / counts.sum())
    return -sum(log_p[ids[1:]].sum().item() for ids in documents), sum(len(ids) - 1 for ids in documents)


def train(model, documents, stopping, seed, log=print):
    """Muon for the matrices of the blocks, AdamW for the rest, a cosine schedule.

    Returns the moving average of the weights, as it was when it did best on `stopping`.
    """
    rng = random.Random(seed)
    size = TRAIN["tokens_per_step"]
    total_steps = TRAIN["epochs"] * (sum(map(len, documents)) // size)
    blocks = [p for p in model.model.layers.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if all(p is not other for other in blocks)]
    optimizers = [
        torch.optim.Muon(blocks, lr=TRAIN["muon_learning_rate"], weight_decay=TRAIN["weight_decay"]),
        torch.optim.AdamW(rest, lr=TRAIN["learning_rate"], weight_decay=0.0, betas=(0.9, 0.98)),
    ]
    warmup = max(1, total_steps // 20)
    factor = lambda step: min((step + 1) / warmup, 0.05 + 0.475 * (1 + math.cos(math.pi * min(1, step / total_steps))))
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in optimizers]
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(TRAIN["ema"]))
    handles = add_dropout(model, TRAIN["dropout"])
    best, best_state, since, step, began = math.inf, None, 0, 0, time.time()
    for epoch in range(1, TRAIN["epochs"] + 1):
        rng.shuffle(documents)
        stream = torch.tensor([token for ids in documents for token in ids])
        model.train()
        losses = []
        for start in range(0, len(stream) - size + 1, size):
            rows = stream[start : start + size].view(-1, TRAIN["lengths"][step % len(TRAIN["lengths"])])
            logits = model(rows).logits
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten())
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for part in optimizers + schedules:
                part.step()
            average.update_parameters(model)
            losses.append(loss.item())
            step += 1
        nats, count = score(average.module, stopping)
        log(f"epoch {epoch:2d}  step {step:5d}  {time.time() - began:5.0f} s  training loss {sum(losses) / len(losses):.3f}"
            f"  stopping loss {nats / count:.4f}")
        if nats / count < best:
            best, since = nats / count, 0
            best_state = {name: value.clone() for name, value in average.module.state_dict().items()}
        else:
            since += 1
            if since >= TRAIN["patience"]:
                break
    for handle in handles:
        handle.remove()
    return best_state


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save_weights(state, folder):
    """bfloat16, in two files split after half the bytes; the tied output matrix is left out."""
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in state.items() if name != "lm_head.weight"}
    total = sum(value.nbytes for value in tensors.values())
    shards, placed = [{}, {}], 0
    for name, value in tensors.items():
        shards[0 if placed < total / 2 else 1][name] = value
        placed += value.nbytes
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, shard in zip(names, shards):
        save_file(shard, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)
    write_json(folder / "model.safetensors.index.json", {
        "metadata": {"total_size": total},
        "weight_map": {tensor: name for name, shard in sorted(zip(names, shards)) for tensor in sorted(shard)},
    })


def main():
    parser = argparse.ArgumentParser(description="Train the small Llama checkpoint in examples/tiny-llama/.")
    parser.add_argument("--data", type=Path, default=ROOT / "calibration-data", help="folder with calibration/ and held-out/")
    parser.add_argument("--out", type=Path, default=ROOT / "examples" / "tiny-llama", help="folder to write")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(args.seed)

    missing = [name for name in FILES if not (args.data / "calibration" / f"{name}.jsonl").is_file()]
    if missing:
        raise SystemExit(f"calibration files missing: {', '.join(missing)}")
    rows, stopping_rows = [], []
    for name in FILES:
        for i, row in enumerate(read_jsonl(args.data / "calibration" / f"{name}.jsonl")):
            (stopping_rows if i % TRAIN["stop_every"] == TRAIN["stop_every"] // 2 else rows).append(row)
    held_out_rows = read_jsonl(args.data / "held-out" / "held-out.jsonl")
    refuse_overlap(map(plain_text, rows + stopping_rows), held_out_rows)

    work = args.out.with_name(args.out.name + ".partial")  # takes the place of args.out only when all is well
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tokenizer = train_tokenizer(map(plain_text, rows), work)
    documents = [document_ids(tokenizer, row) for row in rows]
    stopping = [document_ids(tokenizer, row) for row in stopping_rows]
    held_out = [tokenizer(row["text"], verbose=False)["input_ids"] for row in held_out_rows]  # begin and text, no end
    held_out_bytes = sum(len(row["text"].encode()) for row in held_out_rows)

    def figures(name, nats, count):
        print(f"{name}: perplexity {math.exp(nats / count):.2f} per token, {nats / math.log(2) / held_out_bytes:.3f} bits per byte")
        return math.exp(nats / count)

    write_json(work / "config.json", CONFIG)
    write_json(work / "generation_config.json", {"_from_model_config": True, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2})
    config = LlamaConfig.from_pretrained(work)
    config.dtype = "float32"
    model = LlamaForCausalLM(config)
    print(f"{model.num_parameters():,} parameters; {len(documents)} training documents, {sum(map(len, documents)):,} tokens; "
          f"{len(stopping)} for stopping, {sum(map(len, stopping)):,} tokens; held out: {len(held_out)} documents, "
          f"{sum(len(ids) - 1 for ids in held_out):,} tokens, {held_out_bytes:,} bytes")

    save_weights(train(model, documents, stopping, args.seed), work)

    size = sum(path.stat().st_size for path in work.iterdir())
    if size > MAX_FOLDER_BYTES:
        raise SystemExit(f"the checkpoint takes {size:,} bytes, more than {MAX_FOLDER_BYTES:,}: not written")
    baseline = figures("held-out, unigram baseline", *unigram(documents, held_out))
    saved = AutoModelForCausalLM.from_pretrained(work, dtype=torch.bfloat16)
    figures("held-out, saved checkpoint computed in float32", *score(saved.float(), held_out))
    saved = AutoModelForCausalLM.from_pretrained(work, dtype=torch.bfloat16)
    perplexity = figures("held-out, saved checkpoint computed in bfloat16", *score(saved, held_out))
    if not perplexity < baseline / 2:
        raise SystemExit("that is not below half of the baseline: not written")
    shutil.rmtree(args.out, ignore_errors=True)
    work.rename(args.out)
    print(f"wrote {args.out.name}/: {size:,} bytes")


if __name__ == "__main__":
    main()
