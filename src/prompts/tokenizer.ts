// Turns prompts into token ids with the checkpoint's tokenizer.json. Knows nothing of batches.

import { access } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { parseJsonObject, readTextFile } from "../checkpoint/open-checkpoint.js";
import { CheckpointError, messageOf } from "../errors.js";
import { openChatTemplate, type RenderMessages, renderTranscript } from "./chat-template.js";
import type { Prompt } from "./read-prompts.js";

export interface PromptTokenizer {
  /** The text of a prompt as the model sees it, and its token ids with the special tokens that belong to it. */
  encode(prompt: Prompt): { readonly text: string; readonly ids: readonly number[] };
  readonly hasChatTemplate: boolean;
  /** The text of tokenizer.json, for its hash. */
  readonly json: string;
}

/** Opens the tokenizer of a checkpoint. @throws CheckpointError when tokenizer.json is absent or not understood */
export async function openTokenizer(folder: string): Promise<PromptTokenizer> {
  const path = join(folder, "tokenizer.json");
  const json = await readTextFile(path);
  const configPath = join(folder, "tokenizer_config.json");
  const config = (await exists(configPath)) ? parseJsonObject(configPath, await readTextFile(configPath)) : {};
  const tokenizer = createTokenizer(path, parseJsonObject(path, json), config);
  const template = await openChatTemplate(folder, config);
  return {
    json,
    hasChatTemplate: template !== undefined,
    encode: (prompt) => encode(path, tokenizer, template, prompt),
  };
}

function createTokenizer(path: string, json: Record<string, unknown>, config: Record<string, unknown>): Tokenizer {
  try {
    return new Tokenizer({ ...json, pre_tokenizer: spellOutDigits(json.pre_tokenizer) }, config);
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer is damaged or not supported: ${messageOf(cause)}`, { cause });
  }
}

function encode(path: string, tokenizer: Tokenizer, template: RenderMessages | undefined, prompt: Prompt) {
  const isChat = "messages" in prompt;
  const text = isChat ? (template ?? renderTranscript)(prompt.messages, prompt.source) : prompt.text;
  try {
    // A template writes the special tokens itself: adding them again would double the first.
    const { ids } = tokenizer.encode(text, { add_special_tokens: !isChat || template === undefined });
    // A negative id would count from the end of the embedding.
    if (!ids.every((id: number) => Number.isSafeInteger(id) && id >= 0))
      throw new Error("a token has no id, or a wrong one");
    return { text, ids };
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer fails on ${prompt.source}: ${messageOf(cause)}`, { cause });
  }
}

/**
 * The library's Digits pre-tokenizer splits at 0–9 and its like alone; the original splits at every character of the
 * Unicode category N, such as ½ or Ⅷ. A Split at \p{N} is the original's rule.
 */
function spellOutDigits(preTokenizer: unknown): unknown {
  if (typeof preTokenizer !== "object" || preTokenizer === null) return preTokenizer;
  const { type, individual_digits: individual, pretokenizers } = preTokenizer as Record<string, unknown>;
  if (type === "Sequence" && Array.isArray(pretokenizers)) {
    return { ...preTokenizer, pretokenizers: pretokenizers.map(spellOutDigits) };
  }
  if (type !== "Digits") return preTokenizer;
  return { type: "Split", pattern: { Regex: individual ? "\\p{N}" : "\\p{N}+" }, behavior: "Isolated", invert: false };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
