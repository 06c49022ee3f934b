// From prompts to ids: chosen by the seed, cut to the limit, checked against the embedding.

import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { CheckpointError, PromptDataError } from "../../src/errors.js";
import {
  type EncodeOptions,
  encodeOpenPrompts,
  encodePrompts,
  firstPrompts,
  type PromptEncoder,
} from "../../src/pipeline/encode-prompts.js";
import type { Prompt } from "../../src/prompts/prompt-rows.js";
import { selectSamples } from "../../src/prompts/select-prompts.js";

const idsOf = (text: string) => [...text].map((letter) => letter.charCodeAt(0) - 97);
const contentOf = (prompt: Prompt) =>
  "text" in prompt ? prompt.text : prompt.messages.map(({ content }) => content).join("");

/** A token for each character: its place in the alphabet. An answer begins with a z. */
const LETTERS: PromptEncoder = {
  async encode(prompts, { opensAnswer, maxTokens }, onEncoded) {
    for (const prompt of prompts) {
      const text = contentOf(prompt) + (opensAnswer && "messages" in prompt ? "z" : "");
      const ids = idsOf(text);
      onEncoded({ text, ids: ids.slice(0, maxTokens), length: ids.length, largestId: Math.max(0, ...ids) }, prompt);
    }
  },
};
const ALL: EncodeOptions = { samples: 100, seed: 0, sequenceLength: 100, vocabularySize: 26 };

function promptsOf(...texts: string[]): Prompt[] {
  return texts.map((text, index) => ({ source: `p.txt:${index + 1}`, text }));
}

/** As kv_scales.json says it: a single text alone, else each behind its length in bytes. */
function hashOf(...texts: string[]): string {
  const [only] = texts;
  const hashed = texts.length === 1 ? only : texts.map((text) => `${Buffer.byteLength(text)}\n${text}`).join("");
  return createHash("sha256")
    .update(hashed ?? "")
    .digest("hex");
}

test("prompts come in the order of the seed, each with its ids, and the hash of their texts", async () => {
  const prompts = promptsOf("abc", "de", "f", "ghij");
  const expected = selectSamples(["abc", "de", "f", "ghij"], { samples: 3, seed: 5 });
  const options = { ...ALL, samples: 3, seed: 5 };
  const { textsSha256, tokenIds, tokens, truncated } = await encodePrompts(prompts, LETTERS, options);
  expect(textsSha256).toBe(hashOf(...expected));
  expect(tokenIds).toEqual(expected.map(idsOf));
  expect(tokens).toBe(expected.join("").length);
  expect(truncated).toBe(0);
});

test.each([
  [3, 0, [[0, 1, 2]]],
  [2, 1, [[0, 1]]],
  [1, 1, [[0]]],
])("at most %d tokens of a prompt are taken, and %d was longer", async (sequenceLength, truncated, tokenIds) => {
  const encoded = await encodePrompts(promptsOf("abc"), LETTERS, { ...ALL, sequenceLength });
  expect(encoded).toMatchObject({ truncated, tokenIds });
});

test.each([1, 2, 3, 4])("the first %d prompts are what they are when no others are selected", async (samples) => {
  const prompts = promptsOf("abc", "de", "f", "ghij");
  const options = { ...ALL, sequenceLength: 2 };
  const all = await encodePrompts(prompts, LETTERS, { ...options, samples: 4 });
  expect(firstPrompts(all, samples)).toEqual(await encodePrompts(prompts, LETTERS, { ...options, samples }));
});

test("prompts without a token are passed over", async () => {
  const { textsSha256, tokenIds } = await encodePrompts(promptsOf("", "a", ""), LETTERS, ALL);
  expect(tokenIds).toEqual([[0]]);
  expect(textsSha256).toBe(hashOf("a"));
});

describe("refused are", () => {
  test("prompts of which none has a token", async () => {
    const encoding = encodePrompts(promptsOf("", ""), LETTERS, ALL);
    await expect(encoding).rejects.toThrow(PromptDataError);
    await expect(encoding).rejects.toThrow("No prompt has a token");
  });

  test("ids that the embedding has no row for, by id and prompt, even beyond the limit", async () => {
    const encoding = encodePrompts(promptsOf("abz"), LETTERS, { ...ALL, sequenceLength: 1, vocabularySize: 25 });
    await expect(encoding).rejects.toThrow(CheckpointError);
    await expect(encoding).rejects.toThrow("token id 25 for p.txt:1, but config.json has vocab_size 25");
  });
});

describe("prompts for answers", () => {
  const open = async (prompt: Prompt) => (await encodeOpenPrompts([prompt], LETTERS, 26))[0];
  const user = { role: "user", content: "ab" };
  const assistant = { role: "assistant", content: "c" };
  const more = { role: "user", content: "d" };

  test("text goes on as it is", async () => {
    expect(await open({ source: "p", text: "abc" })).toEqual({ shown: "abc", ids: [0, 1, 2] });
  });

  test.each([
    ["a conversation that ends with the user's turn is answered", [user, assistant, more], "d", [0, 1, 2, 3, 25]],
    ["an answer that is there already is left out", [user, assistant], "ab", [0, 1, 25]],
    ["answers in several turns, too", [user, assistant, assistant], "ab", [0, 1, 25]],
  ])("%s", async (_rule, messages, shown, ids) => {
    expect(await open({ source: "p", messages })).toEqual({ shown, ids });
  });

  test("a conversation without a question, and a text without tokens, are refused by name", async () => {
    const unasked = open({ source: "p.jsonl:7", messages: [assistant] });
    await expect(unasked).rejects.toThrow(/^p\.jsonl:7: .*message of the user/);
    await expect(open({ source: "p.txt:2", text: "" })).rejects.toThrow(PromptDataError);
  });

  test("an id outside the embedding is a CheckpointError", async () => {
    const encoding = encodeOpenPrompts([{ source: "p", text: "abz" }], LETTERS, 25);
    await expect(encoding).rejects.toThrow(CheckpointError);
  });
});
