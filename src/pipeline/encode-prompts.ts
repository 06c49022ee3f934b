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
    const outside = ids.find((id) => id >= vocabularySize);
    if (outside !== undefined) {
      throw new CheckpointError(
        `tokenizer.json gives token id ${outside} for ${prompt.source}, but config.json has vocab_size ${vocabularySize}. Are the two of the same model?`,
      );
    }
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
