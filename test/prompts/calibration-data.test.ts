// What ships for calibration holds what its README promises.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { GENERATION_PROMPTS, readPrompts, SHIPPED_PROMPTS } from "../../src/prompts/read-prompts.js";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { encodeWith } from "../helpers/local-tokenizer.js";

interface Row {
  readonly id: string;
  readonly text?: string;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
}

const FOLDER = fileURLToPath(new URL("../../calibration-data", import.meta.url));
const TINY_LLAMA = fileURLToPath(new URL("../../examples/tiny-llama", import.meta.url));
const README = readFileSync(join(FOLDER, "README.md"), "utf8");

function rowsOf(file: string): Row[] {
  const lines = readFileSync(join(FOLDER, file), "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Row);
}

const FILES = readdirSync(join(FOLDER, "calibration")).sort();
const CALIBRATION = FILES.flatMap((file) => rowsOf(join("calibration", file)));
const HELD_OUT = rowsOf("held-out/held-out.jsonl");
const QUESTIONS = rowsOf("generation/generation.jsonl");

function textOf({ text, messages = [] }: Row): string {
  return text ?? messages.map(({ content }) => content).join("\n\n");
}

test("the shipped prompts are this folder, and all of them can be read", async () => {
  expect(SHIPPED_PROMPTS).toBe(join(FOLDER, "calibration"));
  expect(await readPrompts(SHIPPED_PROMPTS)).toHaveLength(CALIBRATION.length);
});

test("there are at least 128 samples of at least 40,000 tokens", async () => {
  const tokenizer = await openTokenizer(TINY_LLAMA);
  const prompts = await readPrompts(SHIPPED_PROMPTS);
  const tokens = prompts.reduce((sum, prompt) => sum + encodeWith(tokenizer, prompt).ids.length, 0);
  expect(prompts.length).toBeGreaterThanOrEqual(128);
  expect(tokens).toBeGreaterThanOrEqual(40_000);
});

describe("each kind has a file of its own, with as many samples as the README says", () => {
  const promised = [...README.matchAll(/^\| `(?<file>[\w-]+\.jsonl)` \| (?<samples>\d+) \|/gm)].map(
    ({ groups = {} }) => [groups.file ?? "", Number(groups.samples)] as const,
  );

  test("and the README names every file", () => {
    expect(promised.map(([file]) => file).toSorted()).toEqual(FILES);
    expect(FILES).toEqual(
      ["code", "dialogue", "languages", "long-documents", "mathematics", "prose", "structured"].map(
        (kind) => `${kind}.jsonl`,
      ),
    );
  });

  test.each(promised)("%s: %d", (file, samples) => {
    expect(rowsOf(join("calibration", file))).toHaveLength(samples);
  });
});

test("ids are unique, also those of the held-out samples and the questions", () => {
  const ids = [...CALIBRATION, ...HELD_OUT, ...QUESTIONS].map(({ id }) => id);
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
});

test("no text is there twice, and none is both calibration and held out", () => {
  const texts = [...CALIBRATION, ...HELD_OUT].map(textOf);
  expect(new Set(texts).size).toBe(texts.length);
  expect(Math.min(...texts.map((text) => text.length))).toBeGreaterThan(50);
});

test("no long passage stands in both", () => {
  const passages = (row: Row) =>
    textOf(row)
      .split(/\n+/)
      .filter((passage) => passage.length > 60);
  const calibration = new Set(CALIBRATION.flatMap(passages));
  expect(HELD_OUT.flatMap(passages).filter((passage) => calibration.has(passage))).toEqual([]);
});

describe("questions", () => {
  test("are in a folder of their own, as many as the README says", async () => {
    expect(GENERATION_PROMPTS).toBe(join(FOLDER, "generation"));
    expect(await readPrompts(GENERATION_PROMPTS)).toHaveLength(QUESTIONS.length);
    expect(README).toContain(`\`generation.jsonl\`: ${QUESTIONS.length} short conversations`);
  });

  test.each(QUESTIONS)("$id ends with the user's turn and is short", ({ messages = [] }) => {
    expect(messages.at(-1)?.role).toBe("user");
    expect(messages.map(({ content }) => content).join("").length).toBeLessThan(300);
  });
});

describe("long documents", () => {
  test.each(rowsOf("calibration/long-documents.jsonl"))("$id reaches positions beyond 2,000", async (row) => {
    const { ids } = encodeWith(await openTokenizer(TINY_LLAMA), { source: row.id, text: textOf(row) });
    expect(
      ids.length >= 2000 || textOf(row).length >= 7500,
      `${ids.length} tokens, ${textOf(row).length} characters`,
    ).toBe(true);
  });
});

describe("dialogue", () => {
  const dialogues = rowsOf("calibration/dialogue.jsonl");
  test("is conversations between user and assistant, some with a system message at their beginning", () => {
    for (const { id, messages = [] } of dialogues) {
      const roles = messages.map(({ role }) => role);
      const turns = roles[0] === "system" ? roles.slice(1) : roles;
      expect(turns.length, id).toBeGreaterThanOrEqual(2);
      expect(turns, id).toEqual(turns.map((_, turn) => (turn % 2 === 0 ? "user" : "assistant")));
    }
    expect(dialogues.filter(({ messages }) => messages?.[0]?.role === "system").length).toBeGreaterThanOrEqual(5);
  });
});

test.each([
  ["Latin", /\p{Script=Latin}/u],
  ["Cyrillic", /\p{Script=Cyrillic}/u],
  ["Greek", /\p{Script=Greek}/u],
  ["Arabic", /\p{Script=Arabic}/u],
  ["Devanagari", /\p{Script=Devanagari}/u],
  ["Chinese characters", /\p{Script=Han}/u],
  ["Japanese kana", /\p{Script=Hiragana}/u],
  ["Hangul", /\p{Script=Hangul}/u],
])("languages are written in %s", (_script, letters) => {
  const samples = rowsOf("calibration/languages.jsonl").filter((row) => letters.test(textOf(row)));
  expect(samples.length).toBeGreaterThanOrEqual(2);
});
