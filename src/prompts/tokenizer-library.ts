// The one door to the tokenizer library: its models (BPE, Unigram, WordPiece) and its translation of Oniguruma's regular expressions. What it does otherwise than Python's tokenizers is done in the files beside this one.

import { Tokenizer } from "@huggingface/tokenizers";
import { isObject } from "../checkpoint/json-text.js";

/** What is used of the library's tokenizer. */
export interface TokenizerLibrary {
  readonly pre_tokenizer: unknown;
  readonly model: { encode(pieces: readonly string[]): string[] };
}

const NOTHING = {
  ...{ version: "1.0", added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
  model: { type: "WordLevel", vocab: {}, unk_token: "" },
};

/** The parts of a tokenizer.json, ready; those that are not given do nothing. @throws Error when one is not understood */
export function openLibrary(parts: Readonly<Record<string, unknown>>): TokenizerLibrary {
  const model = isObject(parts.model) && parts.model.type === "WordLevel" ? NOTHING.model : parts.model;
  const given = Object.fromEntries(Object.entries({ ...parts, model }).filter(([, part]) => part !== undefined));
  return new Tokenizer({ ...NOTHING, ...given }, {});
}
