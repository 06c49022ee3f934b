#!/usr/bin/env python
"""Golden token ids for the tests: what Python's `tokenizers` and transformers' chat template make of the prompts.

Run:    python test/golden/make_tokenizer_golden.py
Needs:  tokenizers, transformers (no torch; takes seconds). Run it again when calibration-data/calibration or
        examples/tiny-llama/tokenizer*.json change: the tests say so.

Writes test/golden/tokenizer/tiny-llama.json:
    tokenizer_sha256     of tokenizer.json and tokenizer_config.json, one behind the other
    prompts              of every prompt, in the order of the files: "file:line", number of tokens, and sha256 of the ids
                         as decimal numbers with commas between them
    ids                  the ids themselves of every ninth prompt, by "file:line"
    strings              hard strings (as JSON) with their ids

Text is encoded with the special tokens that the tokenizer adds; messages are rendered by apply_chat_template.
"""
import hashlib, json
from pathlib import Path

import tokenizers, transformers
from tokenizers import Tokenizer
from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = ROOT / "examples" / "tiny-llama"

STRINGS = [
    "", " ", "\n\n\n", "\t tab and\u00a0no-break space ", "  leading and trailing  ", "a\r\nb", "\u0000 and \u0007",
    "<|begin|>Not again<|end|>", "<|user|> <| user |> <|unknown|>", "1234567890 3.14159 1,000,000 ١٢٣ ½ Ⅻ",
    "don't we'll I'M THEY'VE", "naïve café / nai\u0308ve cafe\u0301", "ﬁ ﬂ Å Å", "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽", "中文，日本語。한국어", "नमस्ते สวัสดี",
    "مرحبا \u200fשלום\u200e", "x" * 300, "ab " * 100, "=" * 80, "def f(x):\n    return x  # ok\n", "\ufeffmark", "\U0001d518\U0001d52b",
    "İstanbul ıi ẞß", "\u2028\u2029\u0085", "{{ bos_token }}", "</s><s>[INST]",
]


def sha256(ids):
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def main():
    plain = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    chat = AutoTokenizer.from_pretrained(MODEL)

    def encode(row):
        if "text" in row:
            return plain.encode(row["text"]).ids
        text = chat.apply_chat_template(row["messages"], tokenize=False)
        ids = plain.encode(text, add_special_tokens=False).ids
        assert ids == chat.apply_chat_template(row["messages"], tokenize=True, return_dict=False)
        return ids

    prompts, full = [], {}
    for path in sorted((ROOT / "calibration-data" / "calibration").glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            if not line.strip():
                continue
            ids = encode(json.loads(line))
            source = f"{path.name}:{number}"
            if len(prompts) % 9 == 0:
                full[source] = ids
            prompts.append([source, len(ids), sha256(ids)])
    files = [(MODEL / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")]
    golden = {
        "made_with": {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__},
        "tokenizer_sha256": hashlib.sha256(b"".join(files)).hexdigest(),
        "prompts": prompts,
        "ids": full,
        "strings": [[text, plain.encode(text).ids] for text in STRINGS],
    }
    lines = []
    for key, value in golden.items():
        if isinstance(value, list):
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            lines.append(f' "{key}": [\n{rows}\n ]')
        elif key == "ids":
            rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in value.items())
            lines.append(f' "{key}": {{\n{rows}\n }}')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    (HERE / "tokenizer").mkdir(exist_ok=True)
    (HERE / "tokenizer" / "tiny-llama.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(prompts)} prompts, {sum(count for _, count, _ in prompts)} tokens, {len(full)} in full")


if __name__ == "__main__":
    main()
