// From prompts to ids: chosen by the seed, cut to the limit, checked against the embedding.

import { describe, expect, test } from "vitest";
import { CheckpointError, PromptDataError } from "../../src/errors.js";
import { type EncodeOptions, encodeOpenPrompts, encodePrompts } from "../../src/pipeline/encode-prompts.js";
import type { Prompt } from "../../src/prompts/read-prompts.js";
import { selectSamples } from "../../src/prompts/select-prompts.js";
import type { PromptTokenizer } from "../../src/prompts/tokenizer.js";

const lettersOf = (text: string) => ({ text, ids: [...text].map((letter) => letter.charCodeAt(0) - 97) });
const contentOf = (prompt: Prompt) =>
  "text" in prompt ? prompt.text : prompt.messages.map(({ content }) => content).join("");

/** A token for each character: its place in the alphabet. An answer begins with a z. */
const LETTERS: PromptTokenizer = {
  encode: (prompt) => lettersOf(contentOf(prompt)),
  encodeForAnswer: (prompt) => lettersOf(contentOf(prompt) + ("text" in prompt ? "" : "z")),
  decode: (ids) => String.fromCharCode(...ids.map((id) => id + 97)),
  hasChatTemplate: false,
  json: "",
};
const ALL: EncodeOptions = { samples: 100, seed: 0, sequenceLength: 100, vocabularySize: 26 };

function promptsOf(...texts: string[]): Prompt[] {
  return texts.map((text, index) => ({ source: `p.txt:${index + 1}`, text }));
}

test("prompts come in the order of the seed, each with its text, its ids and their number", () => {
  const prompts = promptsOf("abc", "de", "f", "ghij");
  const expected = selectSamples(["abc", "de", "f", "ghij"], { samples: 3, seed: 5 });
  const { texts, tokenIds, tokens, truncated } = encodePrompts(prompts, LETTERS, { ...ALL, samples: 3, seed: 5 });
  expect(texts).toEqual(expected);
  expect(tokenIds.map((ids) => ids.length)).toEqual(expected.map((text) => text.length));
  expect(tokens).toBe(expected.join("").length);
  expect(truncated).toBe(0);
});

test.each([
  [3, 0, [[0, 1, 2]]],
  [2, 1, [[0, 1]]],
  [1, 1, [[0]]],
])("at most %d tokens of a prompt are taken, and %d was longer", (sequenceLength, truncated, tokenIds) => {
  expect(encodePrompts(promptsOf("abc"), LETTERS, { ...ALL, sequenceLength })).toMatchObject({ truncated, tokenIds });
});

test("prompts without a token are passed over", () => {
  const { texts } = encodePrompts(promptsOf("", "a", ""), LETTERS, ALL);
  expect(texts).toEqual(["a"]);
});

describe("refused are", () => {
  test("prompts of which none has a token", () => {
    const encode = () => encodePrompts(promptsOf("", ""), LETTERS, ALL);
    expect(encode).toThrow(PromptDataError);
    expect(encode).toThrow("No prompt has a token");
  });

  test("ids that the embedding has no row for, by id and prompt, even beyond the limit", () => {
    const encode = () => encodePrompts(promptsOf("abz"), LETTERS, { ...ALL, sequenceLength: 1, vocabularySize: 25 });
    expect(encode).toThrow(CheckpointError);
    expect(encode).toThrow("token id 25 for p.txt:1, but config.json has vocab_size 25");
  });
});

describe("prompts for answers", () => {
  const open = (prompt: Prompt) => encodeOpenPrompts([prompt], LETTERS, 26)[0];
  const user = { role: "user", content: "ab" };
  const assistant = { role: "assistant", content: "c" };
  const more = { role: "user", content: "d" };

  test("text goes on as it is", () => {
    expect(open({ source: "p", text: "abc" })).toEqual({ shown: "abc", ids: [0, 1, 2] });
  });

  test.each([
    ["a conversation that ends with the user's turn is answered", [user, assistant, more], "d", [0, 1, 2, 3, 25]],
    ["an answer that is there already is left out", [user, assistant], "ab", [0, 1, 25]],
    ["answers in several turns, too", [user, assistant, assistant], "ab", [0, 1, 25]],
  ])("%s", (_rule, messages, shown, ids) => {
    expect(open({ source: "p", messages })).toEqual({ shown, ids });
  });

  test("a conversation without a question, and a text without tokens, are refused by name", () => {
    expect(() => open({ source: "p.jsonl:7", messages: [assistant] })).toThrow(/^p\.jsonl:7: .*message of the user/);
    expect(() => open({ source: "p.txt:2", text: "" })).toThrow(PromptDataError);
  });

  test("an id outside the embedding is a CheckpointError", () => {
    expect(() => encodeOpenPrompts([{ source: "p", text: "abz" }], LETTERS, 25)).toThrow(CheckpointError);
  });
});
