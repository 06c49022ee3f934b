// A tokenizer of letters for golden checkpoints, which have 72 tokens and no text.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

const LETTERS = [..."abcdefghijklmnopqrstuvwxyz", "Ġ"];

/** Writes tokenizer.json and tokenizer_config.json into a checkpoint's folder: a token per letter and space. */
export function addLetterTokenizer(folder: string): void {
  const vocab = Object.fromEntries(LETTERS.map((letter, id) => [letter, id]));
  const pre_tokenizer = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const model = { type: "BPE", vocab, merges: [] };
  const tokenizer = { version: "1.0", added_tokens: [], normalizer: null, pre_tokenizer, model };
  const others = { truncation: null, padding: null, post_processor: null, decoder: null };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ ...tokenizer, ...others }));
  writeFileSync(join(folder, "tokenizer_config.json"), "{}");
}
