// Ids and decoded texts are those of Python's tokenizers, whatever tokenizer.json is made of; what is not supported is refused
// by name. Goldens by test/golden/make_tokenizer_table.py.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openTokenizer } from "../../src/prompts/tokenizer.js";
import { type Json, readGolden, temporaryFolder } from "../helpers/golden-checkpoints.js";

interface Case {
  readonly name: string;
  readonly tokenizer: Json;
  readonly model: number;
  /** Text, its ids, those without special tokens where they differ, and the text of the ids. */
  readonly rows: readonly (readonly [text: string, ids: number[], plain: number[] | null, decoded: string])[];
  readonly decoded?: readonly (readonly [ids: number[], text: string])[];
}

const { models, cases } = readGolden<{ readonly models: readonly Json[]; readonly cases: readonly Case[] }>(
  "tokenizer/table.json",
);

async function open({ tokenizer, model }: Case) {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ ...tokenizer, model: models[model] }));
  // A template, so that messages are encoded without special tokens.
  await writeFile(join(folder, "chat_template.jinja"), "");
  return openTokenizer(folder);
}

const REFUSED: Readonly<Record<string, RegExp>> = {
  UnicodeScripts: /pre-tokenizer UnicodeScripts is not supported/,
  "BPE continuing_subword_prefix": /continuing_subword_prefix "##" is not supported/,
};

test.each(cases.filter(({ name }) => REFUSED[name] === undefined))("$name", async (row) => {
  const tokenizer = await open(row);
  const asText = { source: "", text: "" };
  const asMessages = { source: "", messages: [] };
  const found = row.rows.map(([text, ids, plain]) => [
    text,
    tokenizer.tokenize(text, asText),
    plain && tokenizer.tokenize(text, asMessages),
    tokenizer.decode(ids),
  ]);
  expect(found).toEqual(row.rows);
  for (const [ids, text] of row.decoded ?? []) expect([ids, tokenizer.decode(ids)]).toEqual([ids, text]);
});

test.each(Object.entries(REFUSED))("%s is refused by name", async (name, says) => {
  const row = cases.find((entry) => entry.name === name);
  await expect(row && open(row)).rejects.toThrow(says);
});
