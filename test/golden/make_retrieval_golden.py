#!/usr/bin/env python
"""Golden values of retrieval: what transformers says of the values that a text asks for, through caches that round.

Run:    npm run build && python test/golden/make_retrieval_golden.py
Needs:  transformers 5.23.0, torch 2.13.0 (CPU is enough; takes seconds), Node. Seeded: same versions, same file.

The text is the program's own, of the seed and length below. Its tokens, and which of them are a value's, are Python's:
the value's characters are looked for in the text, and the tokenizer says which tokens they are in.

Writes retrieval.json next to this script:

folder, request   the checkpoint from the repository's root, and what was asked of the program
texts             each with
  text, ids       the text and its tokens
  values          for each question: characters of the value in the line that said it, first and last; its first token
                  and how many
arms              by name: format and scales as in verify.json; nats and found of each value, texts one behind the other
"""
import json
import re
import subprocess

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from make_verify_golden import EXAMPLE, HERE, REPOSITORY, rounded, run

REQUEST = {"tokens": 600, "values": 12, "seed": 3}
SECOND_HEADING = "The numbers of some names again:\n"
MAKE_TEXTS = """
const { encodeRetrieval } = await import("./dist/pipeline/encode-retrieval.js");
const { makeRetrievalText } = await import("./dist/prompts/retrieval-text.js");
const { startTokenizerProcess } = await import("./dist/pipeline/tokenizer-process.js");
const [folder, request] = process.argv.slice(1).map((text, index) => (index === 0 ? text : JSON.parse(text)));
const tokenizer = startTokenizerProcess({ folder });
const windows = await encodeRetrieval(request, tokenizer, 2 ** 31);
tokenizer.stop();
let askedBefore = 0;
const texts = windows.map(({ lines, values }, text) => {
  const made = makeRetrievalText({ seed: request.seed, text, lines, askedBefore, values: values.length });
  askedBefore += values.length;
  return made.text;
});
console.log(JSON.stringify(texts));
"""


def values_of(text, encoding):
    register_end = text.index(SECOND_HEADING)
    for line in re.finditer(r"^(\w+ \w+):( \d{4})$", text[register_end:], re.MULTILINE):
        said = re.search(rf"^{line[1]}:( \d{{4}})$", text[:register_end], re.MULTILINE)
        assert said[1] == line[2]
        start, end = (register_end + place for place in line.span(2))
        tokens = [index for index, (first, last) in enumerate(encoding.offsets) if last > start and first < end]
        yield {"said": [*said.span(1)], "first": tokens[0], "tokens": len(tokens)}


def golden():
    made = subprocess.run(["node", "--input-type=module", "-e", MAKE_TEXTS, str(REPOSITORY / EXAMPLE), json.dumps(REQUEST)], cwd=REPOSITORY,
                          check=True, capture_output=True, text=True)
    tokenizer = Tokenizer.from_file(str(REPOSITORY / EXAMPLE / "tokenizer.json"))
    texts = []
    for text in json.loads(made.stdout):
        encoding = tokenizer.encode(text)
        texts.append({"text": text, "ids": encoding.ids, "values": list(values_of(text, encoding))})
    windows = [text["ids"] for text in texts]
    model = AutoModelForCausalLM.from_pretrained(REPOSITORY / EXAMPLE, dtype=torch.float32, attn_implementation="eager").eval()
    _, seen = run(model, windows, {"format": "float32"})
    scales = {side: [torch.tensor(layer[side]["absmax"] / 448).item() for layer in seen] for side in ("k", "v")}
    arms = {"exact": {"format": "float32"}, "16-bit": {"format": "bfloat16"},
            "e4m3fn": {"format": "float8_e4m3fn", "scales": scales}, "e5m2": {"format": "float8_e5m2"}}
    for name, arm in arms.items():
        log_p, _ = run(model, windows, arm)
        nats, found, start = [], [], 0
        for text in texts:
            for value in text["values"]:
                places = [start + value["first"] - 1 + token for token in range(value["tokens"])]
                targets = text["ids"][value["first"]:value["first"] + value["tokens"]]
                nats.append(-sum(log_p[place, target] for place, target in zip(places, targets)))
                found.append(all(log_p[place].argmax() == target for place, target in zip(places, targets)))
            start += len(text["ids"]) - 1
        arm.update({"nats": rounded(torch.stack(nats)), "found": found})
        print(name, f"{torch.stack(nats).mean():.4f} nats, {sum(found)} of {len(found)} found")
    return {"folder": EXAMPLE, "request": REQUEST, "texts": texts, "arms": arms}


if __name__ == "__main__":
    (HERE / "retrieval.json").write_text(json.dumps(golden(), separators=(",", ":")) + "\n")
