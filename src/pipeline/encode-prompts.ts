// From prompts to the token ids of a run: chosen, rendered, tokenized, cut. Joins prompts to a checkpoint's vocabulary.

import { CheckpointError, PromptDataError } from "../errors.js";
import type { Prompt } from "../prompts/read-prompts.js";
import { selectSamples } from "../prompts/select-prompts.js";
import type { PromptTokenizer } from "../prompts/tokenizer.js";

export interface EncodedPrompts {
  readonly texts: readonly string[]; // [prompts]
  readonly tokenIds: readonly (readonly number[])[]; // [prompts][tokens]
  readonly tokens: number;
  /** Prompts that were longer than the limit. */
  readonly truncated: number;
}

export interface EncodeOptions {
  readonly samples: number;
  readonly seed: number;
  readonly sequenceLength: number;
  readonly vocabularySize: number;
}

/**
 * Encodes the chosen prompts in calibration order. Prompts without tokens are passed over.
 * @throws PromptDataError when nothing is left, CheckpointError when an id is outside the embedding
 */
export function encodePrompts(
  prompts: readonly Prompt[],
  tokenizer: PromptTokenizer,
  { samples, seed, sequenceLength, vocabularySize }: EncodeOptions,
): EncodedPrompts {
  const texts: string[] = [];
  const tokenIds: (readonly number[])[] = [];
  let truncated = 0;
  for (const prompt of selectSamples(prompts, { samples, seed })) {
    const { text, ids } = tokenizer.encode(prompt);
    if (ids.length === 0) continue;
    requireKnownIds(ids, prompt.source, vocabularySize);
    if (ids.length > sequenceLength) truncated++;
    texts.push(text);
    tokenIds.push(ids.slice(0, sequenceLength));
  }
  if (tokenIds.length === 0) throw new PromptDataError("No prompt has a token: nothing to calibrate with");
  return { texts, tokenIds, tokens: tokenIds.reduce((sum, ids) => sum + ids.length, 0), truncated };
}

/**
 * Encodes prompts whole and cuts them into windows of `sequenceLength` tokens; what is left of a prompt is a shorter
 * window. Windows of one token predict nothing and are passed over.
 * @throws PromptDataError when nothing is left, CheckpointError when an id is outside the embedding
 */
export function encodeWindows(
  prompts: readonly Prompt[],
  tokenizer: PromptTokenizer,
  options: EncodeOptions,
): (readonly number[])[] {
  const { tokenIds } = encodePrompts(prompts, tokenizer, { ...options, sequenceLength: Number.POSITIVE_INFINITY });
  const { sequenceLength } = options;
  const windows = tokenIds.flatMap((ids) =>
    Array.from({ length: Math.ceil(ids.length / sequenceLength) }, (_, index) =>
      ids.slice(index * sequenceLength, (index + 1) * sequenceLength),
    ),
  );
  const predicting = windows.filter(({ length }) => length > 1);
  if (predicting.length === 0) throw new PromptDataError("No text has two tokens: nothing can be predicted");
  return predicting;
}

/** A prompt for a model to go on. */
export interface OpenPrompt {
  /** What the user said last, or the text. */
  readonly shown: string;
  readonly ids: readonly number[];
}

/**
 * Encodes prompts for answers: after messages, the assistant's turn begins; text goes on as it is. Turns of the assistant
 * that stand last are what shall be generated, so they are left out.
 * @throws PromptDataError when a prompt has nothing to answer, CheckpointError when an id is outside the embedding
 */
export function encodeOpenPrompts(
  prompts: readonly Prompt[],
  tokenizer: PromptTokenizer,
  vocabularySize: number,
): OpenPrompt[] {
  return prompts.map((prompt) => {
    const asked = withoutLastAnswer(prompt);
    const { ids } = tokenizer.encodeForAnswer(asked);
    requireKnownIds(ids, prompt.source, vocabularySize);
    if (ids.length === 0) throw new PromptDataError(`${prompt.source}: the prompt has no token: nothing to go on from`);
    return { shown: "messages" in asked ? (asked.messages.at(-1)?.content ?? "") : asked.text, ids };
  });
}

function withoutLastAnswer(prompt: Prompt): Prompt {
  if (!("messages" in prompt)) return prompt;
  const end = prompt.messages.findLastIndex(({ role }) => role !== "assistant") + 1;
  if (end === 0) throw new PromptDataError(`${prompt.source}: expected a message of the user to answer, found none`);
  return { source: prompt.source, messages: prompt.messages.slice(0, end) };
}

function requireKnownIds(ids: readonly number[], source: string, vocabularySize: number): void {
  const outside = ids.find((id) => id >= vocabularySize);
  if (outside === undefined) return;
  throw new CheckpointError(
    `tokenizer.json gives token id ${outside} for ${source}, but config.json has vocab_size ${vocabularySize}. Are the two of the same model?`,
  );
}
