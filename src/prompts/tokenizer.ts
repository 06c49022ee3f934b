// Turns prompts into token ids with the checkpoint's tokenizer.json. Knows nothing of batches, and sets no limit to what
// the checkpoint's patterns and templates do: the process that this runs in has one.

import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { parseJsonObject, parsePythonJsonObject } from "../checkpoint/json-text.js";
import { readOptionalTextFile, readTextFile } from "../checkpoint/text-files.js";
import { CheckpointError, messageOf } from "../errors.js";
import { findChatTemplates, parseChatTemplates, renderTranscript } from "./chat-template.js";
import { refuseFalseLengths } from "./false-lengths.js";
import type { Prompt } from "./prompt-rows.js";

/** Its functions run what the checkpoint's files say, and take as long as those like. */
export interface PromptTokenizer {
  /**
   * The text of a prompt as the model sees it.
   * @param opensAnswer whether the assistant's turn begins after messages, so that what follows is an answer
   * @throws PromptDataError when the template refuses the messages
   */
  render(prompt: Prompt, opensAnswer?: boolean): string;
  /** Token ids of the text of a prompt, with the special tokens that belong to it. @throws CheckpointError */
  tokenize(text: string, prompt: Prompt): number[];
  /** The text of ids that a model has generated, without special tokens. @throws CheckpointError */
  decode(ids: readonly number[]): string;
  /** The file of the chat template; undefined when there is none. */
  readonly templatePath: string | undefined;
  /** The text of tokenizer.json, for its hash. */
  readonly json: string;
}

/**
 * Opens the tokenizer of a checkpoint.
 * @param onStep is told which file is looked at next, and waited for
 * @throws CheckpointError when tokenizer.json is absent or not understood
 */
export async function openTokenizer(
  folder: string,
  onStep: (path: string, doing: string) => Promise<void> | void = () => {},
): Promise<PromptTokenizer> {
  const path = join(folder, "tokenizer.json");
  const json = await readTextFile(path);
  const configPath = join(folder, "tokenizer_config.json");
  const configText = await readOptionalTextFile(configPath);
  const config = configText === undefined ? {} : parsePythonJsonObject(configPath, configText);
  await onStep(path, "loading the tokenizer");
  const tokenizerJson = parseJsonObject(path, json);
  refuseFalseLengths(path, tokenizerJson);
  refuseFalseLengths(configPath, config);
  const tokenizer = createTokenizer(path, tokenizerJson, config);
  const templates = await findChatTemplates(folder, config);
  const [template] = templates.has("default") ? [templates.get("default")] : templates.values();
  if (template !== undefined) await onStep(template.path, "parsing the chat template");
  const renderChat = template === undefined ? undefined : parseChatTemplates(templates, config);
  return {
    json,
    templatePath: template?.path,
    render: (prompt, opensAnswer) =>
      "messages" in prompt ? (renderChat ?? renderTranscript)(prompt, prompt.source, opensAnswer) : prompt.text,
    // A template writes the special tokens itself: adding them again would double the first.
    tokenize: (text, prompt) =>
      tokenize(path, tokenizer, text, prompt.source, !("messages" in prompt) || renderChat === undefined),
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

function tokenize(
  path: string,
  tokenizer: Tokenizer,
  text: string,
  source: string,
  addSpecialTokens: boolean,
): number[] {
  try {
    const { ids } = tokenizer.encode(text, { add_special_tokens: addSpecialTokens });
    // A negative id would count from the end of the embedding.
    if (!ids.every((id: number) => Number.isSafeInteger(id) && id >= 0))
      throw new Error("a token has no id, or a wrong one");
    return ids;
  } catch (cause) {
    throw new CheckpointError(`${path}: the tokenizer fails on ${source}: ${messageOf(cause)}`, { cause });
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
