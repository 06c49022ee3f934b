// Token ids are those of Python's tokenizers, prompt for prompt: golden files by test/golden/make_tokenizer_golden.py.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { type Prompt, readPrompts, SHIPPED_PROMPTS } from "../../src/prompts/read-prompts.js";
import { openTokenizer, type PromptTokenizer } from "../../src/prompts/tokenizer.js";
import { readGolden } from "../helpers/golden-checkpoints.js";

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
  return prompt === undefined ? [] : tokenizer.encode(prompt).ids;
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
  expect(tokenizer.encode({ source: "", text }).ids).toEqual(ids);
});
