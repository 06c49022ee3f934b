// A tokenizer in the test's own process, as a program's other process has it. Without limits: its files are known.

import type { TokenizerProcess } from "../../src/pipeline/tokenizer-process.js";
import type { Prompt } from "../../src/prompts/prompt-rows.js";
import { openTokenizer, type PromptTokenizer } from "../../src/prompts/tokenizer.js";

/** The text of a prompt and its ids. */
export function encodeWith(tokenizer: PromptTokenizer, prompt: Prompt, opensAnswer = false) {
  const text = tokenizer.render(prompt, opensAnswer);
  return { text, ids: tokenizer.tokenize(text, prompt) };
}

/** What encodes and decodes, of the tokenizer of a folder. */
export async function localTokenizer(folder: string): Promise<Pick<TokenizerProcess, "encode" | "decode" | "stop">> {
  const tokenizer = await openTokenizer(folder);
  return {
    stop() {},
    decode: async (ids) => ids.map(tokenizer.decode),
    async encode(prompts, { opensAnswer, maxTokens }, onEncoded) {
      for (const prompt of prompts) {
        const { text, ids } = encodeWith(tokenizer, prompt, opensAnswer);
        onEncoded({ text, ids: ids.slice(0, maxTokens), length: ids.length, largestId: Math.max(0, ...ids) }, prompt);
      }
    },
  };
}
