// Turns prompts into token ids with the checkpoint's tokenizer.json. Knows nothing of batches.

import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { parseJsonObject } from "../checkpoint/json-text.js";
import { readOptionalTextFile, readTextFile } from "../checkpoint/text-files.js";
import { CheckpointError, messageOf } from "../errors.js";
import { openChatTemplate, type RenderMessages, renderTranscript } from "./chat-template.js";
import { refuseFalseLengths } from "./false-lengths.js";
import type { Prompt } from "./read-prompts.js";

export interface PromptTokenizer {
  /** The text of a prompt as the model sees it, and its token ids with the special tokens that belong to it. */
  encode(prompt: Prompt): EncodedPrompt;
  /** The same with the assistant's turn begun after messages, so that what follows is an answer. Text goes on as it is. */
  encodeForAnswer(prompt: Prompt): EncodedPrompt;
  /** The text of ids that a model has generated, without special tokens. */
  decode(ids: readonly number[]): string;
  readonly hasChatTemplate: boolean;
  /** The text of tokenizer.json, for its hash. */
  readonly json: string;
}

export interface EncodedPrompt {
  readonly text: string;
  readonly ids: readonly number[];
}

/** Opens the tokenizer of a checkpoint. @throws CheckpointError when tokenizer.json is absent or not understood */
export async function openTokenizer(folder: string): Promise<PromptTokenizer> {
  const path = join(folder, "tokenizer.json");
  const json = await readTextFile(path);
  const configPath = join(folder, "tokenizer_config.json");
  const configText = await readOptionalTextFile(configPath);
  const config = configText === undefined ? {} : parseJsonObject(configPath, configText);
  const tokenizerJson = parseJsonObject(path, json);
  refuseFalseLengths(path, tokenizerJson);
  refuseFalseLengths(configPath, config);
  const tokenizer = createTokenizer(path, tokenizerJson, config);
  const template = await openChatTemplate(folder, config);
  return {
    json,
    hasChatTemplate: template !== undefined,
    encode: (prompt) => encode(path, tokenizer, template, prompt, false),
    encodeForAnswer: (prompt) => encode(path, tokenizer, template, prompt, true),
    decode: (ids) => decode(path, tokenizer, ids),
  };
}

function createTokenizer(path: string, json: Record<string, unknown>, config: Record<string, unknown>): Tokenizer {
  try {
    return new Tokenizer({ ...json, pre_tokenizer: spellOutDigits(json.pre_tokenizer) }, config);
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer is damaged or not supported: ${messageOf(cause)}`, { cause });
  }
}

function encode(
  path: string,
  tokenizer: Tokenizer,
  template: RenderMessages | undefined,
  prompt: Prompt,
  opensAnswer: boolean,
): EncodedPrompt {
  const isChat = "messages" in prompt;
  const text = isChat ? (template ?? renderTranscript)(prompt.messages, prompt.source, opensAnswer) : prompt.text;
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

function decode(path: string, tokenizer: Tokenizer, ids: readonly number[]): string {
  if (ids.length === 0) return "";
  try {
    // Spaces stay where the model put them: cleaning up is for word pieces.
    return tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer fails on generated tokens: ${messageOf(cause)}`, { cause });
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
