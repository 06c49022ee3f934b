// Token ids are those of Python's tokenizers, prompt for prompt: golden files by test/golden/make_tokenizer_golden.py.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { Prompt } from "../../src/prompts/prompt-rows.js";
import { readPrompts, SHIPPED_PROMPTS } from "../../src/prompts/read-prompts.js";
import { openTokenizer, type PromptTokenizer } from "../../src/prompts/tokenizer.js";
import { readGolden, temporaryFolder } from "../helpers/golden-checkpoints.js";
import { encodeWith } from "../helpers/local-tokenizer.js";

interface GoldenIds {
  readonly tokenizer_sha256: string;
  readonly prompts: readonly (readonly [source: string, tokens: number, sha256: string])[];
  readonly ids: Readonly<Record<string, readonly number[]>>;
  readonly strings: readonly (readonly [text: string, ids: readonly number[]])[];
}

const TINY_LLAMA = fileURLToPath(new URL("../../examples/tiny-llama", import.meta.url));
const GOLDEN = readGolden<GoldenIds>("tokenizer/tiny-llama.json");

let tokenizer: PromptTokenizer;
let prompts: Map<string, Prompt>;

beforeAll(async () => {
  tokenizer = await openTokenizer(TINY_LLAMA);
  prompts = new Map((await readPrompts(SHIPPED_PROMPTS)).map((prompt) => [basename(prompt.source), prompt]));
});

function idsOf(source: string): readonly number[] {
  const prompt = prompts.get(source);
  return prompt === undefined ? [] : encodeWith(tokenizer, prompt).ids;
}

test("the golden ids were made with this tokenizer (else run test/golden/make_tokenizer_golden.py)", () => {
  const hash = createHash("sha256");
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) hash.update(readFileSync(join(TINY_LLAMA, file)));
  expect(hash.digest("hex")).toBe(GOLDEN.tokenizer_sha256);
});

describe("of every shipped prompt the ids are those of Python", () => {
  test("the golden file has every prompt, in the same order", () => {
    expect(GOLDEN.prompts.map(([source]) => source)).toEqual([...prompts.keys()]);
  });

  test("number and hash of the ids are equal", () => {
    const found = GOLDEN.prompts.map(([source]) => {
      const ids = idsOf(source);
      return [source, ids.length, createHash("sha256").update(ids.join(",")).digest("hex")];
    });
    expect(found).toEqual(GOLDEN.prompts);
  });

  test("the ids are equal, one by one, where the golden file has them in full", () => {
    const sources = Object.keys(GOLDEN.ids);
    expect(sources.length).toBeGreaterThanOrEqual(20);
    for (const source of sources) expect(idsOf(source), source).toEqual(GOLDEN.ids[source]);
  });
});

test.each(GOLDEN.strings)("the ids of %j are those of Python", (text, ids) => {
  expect(encodeWith(tokenizer, { source: "", text }).ids).toEqual(ids);
});

describe("decoding", () => {
  const SPECIAL = /<\|(?:begin|end|pad|system|user|assistant)\|>/g;

  test.each(GOLDEN.strings)("the ids of %j are that text again, without special tokens", (text, ids) => {
    expect(tokenizer.decode(ids)).toBe(text.replaceAll(SPECIAL, ""));
  });

  test("a tokenizer made as SentencePiece's are gives spaces and bytes back", async () => {
    const vocab = ["<unk>", "<s>", "</s>", "<0xE2>", "<0x82>", "<0xAC>", "▁It", "▁costs", "▁", "5", "."];
    const folder = await temporaryFolder();
    const json = {
      added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => ({ id, content, special: true, normalized: false })),
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          { type: "Strip", content: " ", start: 1, stop: 0 },
        ],
      },
      model: {
        ...{ type: "BPE", unk_token: "<unk>", byte_fallback: true, merges: [] },
        vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      },
    };
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(json));
    const { decode } = await openTokenizer(folder);
    expect(decode([6, 7, 8, 3, 4, 5, 9, 10, 2])).toBe("It costs €5.");
    // A text that ends within a character shows that, and ends no run.
    expect(decode([6, 8, 3, 4])).toMatch(/^It \uFFFD+$/);
  });

  test("special tokens are left out, and nothing is nothing", () => {
    const { ids } = encodeWith(tokenizer, { source: "", messages: [{ role: "user", content: "A bird , here ." }] });
    expect(tokenizer.decode(ids)).toBe("\nA bird , here .\n");
    expect(tokenizer.decode([])).toBe("");
  });

  test("an id that no token has is no text, and no error", () => {
    expect(tokenizer.decode([2_000_000])).toBe("");
  });
});

test("for an answer the assistant's turn is begun; a text goes on as it is", () => {
  const asked = { source: "", messages: [{ role: "user", content: "Hello" }] };
  const opened = encodeWith(tokenizer, asked, true);
  expect(opened.text).toBe(`${encodeWith(tokenizer, asked).text}<|assistant|>\n`);
  expect(opened.ids.slice(0, encodeWith(tokenizer, asked).ids.length)).toEqual(encodeWith(tokenizer, asked).ids);
  const text = { source: "", text: "Once upon" };
  expect(encodeWith(tokenizer, text, true)).toEqual(encodeWith(tokenizer, text));
});
