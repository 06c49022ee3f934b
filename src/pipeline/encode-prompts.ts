// From prompts to the token ids of a run: selected, rendered, tokenized, cut. Checks ids against the vocabulary.

import { createHash } from "node:crypto";
import { CheckpointError, PromptDataError } from "../errors.js";
import { type Prompt, textOfMessage } from "../prompts/prompt-rows.js";
import { selectSamples } from "../prompts/select-prompts.js";
import { TextsHash } from "./texts-hash.js";
import type { TokenizerProcess } from "./tokenizer-process.js";

/** The part of a tokenizer that encoding needs. */
export type PromptEncoder = Pick<TokenizerProcess, "encode">;

/** It would take days on the fastest device, and a gigabyte for ids. A few hundred thousand are a large calibration. */
const MAX_TOKENS = 2 ** 27;

/** What is said of all prompts together. */
interface PromptFacts {
  /** Hash of the texts as the model sees them, in calibration order. */
  readonly textsSha256: string;
  readonly tokens: number;
  /** Number of prompts that were longer than the limit. */
  readonly truncated: number;
}

export interface EncodedPrompts extends PromptFacts {
  readonly tokenIds: readonly (readonly number[])[]; // [prompts][tokens]
  /** What is said of the first prompts, up to each. */
  readonly upTo: readonly PromptFacts[]; // [prompts]
}

export interface EncodeOptions {
  readonly samples: number;
  readonly seed: number;
  readonly sequenceLength: number;
  readonly vocabularySize: number;
}

/**
 * Encodes the selected prompts in calibration order. Skips prompts without tokens.
 * @throws PromptDataError when nothing is left, CheckpointError when an id is outside the embedding
 */
export async function encodePrompts(
  prompts: readonly Prompt[],
  tokenizer: PromptEncoder,
  { samples, seed, sequenceLength, vocabularySize }: EncodeOptions,
): Promise<EncodedPrompts> {
  const hash = new TextsHash();
  const tokenIds: (readonly number[])[] = [];
  const upTo: PromptFacts[] = [];
  let tokens = 0;
  let truncated = 0;
  const chosen = selectSamples(prompts, { samples, seed });
  const request = { opensAnswer: false, maxTokens: sequenceLength };
  await tokenizer.encode(chosen, request, ({ text, ids, length, largestId }, { source }) => {
    if (length === 0) return;
    requireKnownId(largestId, source, vocabularySize);
    if (length > sequenceLength) truncated++;
    hash.add(text);
    tokenIds.push(ids);
    tokens += ids.length;
    if (tokens > MAX_TOKENS) throw tooManyTokens(source);
    upTo.push({ textsSha256: hash.digest(), tokens, truncated });
  });
  return joinPrompts(tokenIds, upTo);
}

/** The first prompts alone, as if no others had been selected. @param count from 1 */
export function firstPrompts({ tokenIds, upTo }: EncodedPrompts, count: number): EncodedPrompts {
  return joinPrompts(tokenIds.slice(0, count), upTo.slice(0, count));
}

function joinPrompts(tokenIds: EncodedPrompts["tokenIds"], upTo: EncodedPrompts["upTo"]): EncodedPrompts {
  const all = upTo.at(-1);
  if (all === undefined) throw new PromptDataError("No prompt has a token: nothing to calibrate with");
  return { ...all, tokenIds, upTo };
}

function tooManyTokens(source: string): PromptDataError {
  return new PromptDataError(
    `${source}: with it, the prompts have more than ${MAX_TOKENS} tokens, which is the limit: give fewer or shorter prompts (--samples, --sequence-length)`,
  );
}

/** A piece of a text that is evaluated at once. */
export interface TextWindow {
  readonly ids: readonly number[];
  /** Number of the passage that it is a part of. Windows of one passage are alike; a repeated text is the same one. */
  readonly passage: number;
}

/**
 * Tokens of a passage at most: a longer text counts as several. Texts differ from each other by their kind and language,
 * and a long one from itself less, but not only by chance.
 */
const PASSAGE_TOKENS = 2048;

/**
 * Encodes whole prompts and cuts them into windows of `sequenceLength` tokens; the rest of a prompt is a shorter
 * window. Skips windows of one token, which predict nothing.
 * @throws PromptDataError when nothing is left, CheckpointError when an id is outside the embedding
 */
export async function encodeWindows(
  prompts: readonly Prompt[],
  tokenizer: PromptEncoder,
  options: EncodeOptions,
): Promise<TextWindow[]> {
  const { tokenIds } = await encodePrompts(prompts, tokenizer, {
    ...options,
    sequenceLength: Number.POSITIVE_INFINITY,
  });
  const { sequenceLength } = options;
  const passages = new Map<string, number>();
  const windows = tokenIds.flatMap((ids) => {
    const text = createHash("sha256").update(Uint32Array.from(ids)).digest("base64");
    return Array.from({ length: Math.ceil(ids.length / sequenceLength) }, (_, index): TextWindow => {
      const start = index * sequenceLength;
      const place = `${text} ${Math.floor(start / PASSAGE_TOKENS)}`;
      const passage = passages.get(place) ?? passages.size;
      passages.set(place, passage);
      return { ids: ids.slice(start, start + sequenceLength), passage };
    });
  });
  const predicting = windows.filter(({ ids }) => ids.length > 1);
  if (predicting.length === 0) throw new PromptDataError("No text has two tokens: nothing can be predicted");
  return predicting;
}

/** A prompt for the model to continue. */
export interface OpenPrompt {
  /** The user's last message, or the text. */
  readonly shown: string;
  readonly ids: readonly number[];
}

/**
 * Encodes prompts for answers: after messages, the assistant's turn begins; text is continued as it is. Final turns of
 * the assistant are left out, because they are to be generated.
 * @throws PromptDataError when a prompt has nothing to answer, CheckpointError when an id is outside the embedding
 */
export async function encodeOpenPrompts(
  prompts: readonly Prompt[],
  tokenizer: PromptEncoder,
  vocabularySize: number,
): Promise<OpenPrompt[]> {
  const open: OpenPrompt[] = [];
  const request = { opensAnswer: true, maxTokens: Number.POSITIVE_INFINITY };
  await tokenizer.encode(prompts.map(withoutLastAnswer), request, ({ ids, largestId }, asked) => {
    requireKnownId(largestId, asked.source, vocabularySize);
    if (ids.length === 0) throw new PromptDataError(`${asked.source}: the prompt has no token: nothing to continue`);
    open.push({ shown: shownOf(asked), ids });
  });
  return open;
}

function shownOf(prompt: Prompt): string {
  if (!("messages" in prompt)) return prompt.text;
  const last = prompt.messages.at(-1);
  return last === undefined ? "" : textOfMessage(last);
}

function withoutLastAnswer(prompt: Prompt): Prompt {
  if (!("messages" in prompt)) return prompt;
  const end = prompt.messages.findLastIndex(({ role }) => role !== "assistant") + 1;
  if (end === 0) throw new PromptDataError(`${prompt.source}: expected a message of the user to answer, found none`);
  return { ...prompt, messages: prompt.messages.slice(0, end) };
}

/** @throws CheckpointError for ids of another vocabulary */
export function requireKnownId(largestId: number, source: string, vocabularySize: number): void {
  if (largestId < vocabularySize) return;
  throw new CheckpointError(
    `tokenizer.json gives token id ${largestId} for ${source}, but config.json has vocab_size ${vocabularySize}. Are the two of the same model?`,
  );
}
