// A tokenizer of made-up words, one token each, and random prompts in them: so that a text has exactly the wanted token
// ids, and a program that takes ids gets the same as one that takes text. Knows no weights.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Replaces a checkpoint's tokenizer by one with a word per id. WordPiece takes the longest word of its vocabulary, which
 * is the whole word, and @huggingface/tokenizers knows it (WordLevel it does not).
 * @param {string} folder @param {number} vocabularySize
 */
export async function writeWordTokenizer(folder, vocabularySize) {
  const vocab = Object.fromEntries(Array.from({ length: vocabularySize }, (_, id) => [wordOf(id), id]));
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordPiece",
      unk_token: wordOf(0),
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  };
  const config = { tokenizer_class: "PreTrainedTokenizerFast", unk_token: wordOf(0) };
  await writeFile(join(folder, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`);
  await writeFile(join(folder, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * Random token ids, the same for the same arguments.
 * @param {readonly number[]} lengths tokens of each prompt @param {number} vocabularySize
 * @returns {number[][]} [prompts][tokens]
 */
export function randomTokenIds(lengths, vocabularySize) {
  let state = 0x9e3779b9;
  // Xorshift (Marsaglia, 2003), 32 bits of state.
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  return lengths.map((tokens) => Array.from({ length: tokens }, () => next() % vocabularySize));
}

/** The text that the tokenizer of words encodes to these ids. @param {readonly number[]} tokenIds */
export function textOf(tokenIds) {
  return tokenIds.map(wordOf).join(" ");
}

/** @param {number} id */
function wordOf(id) {
  return `w${id}`;
}
