// The part of a verification that retrieves: long texts that ask for what they said, through every cache. Prepares the
// texts, and turns what the forward pass gives into figures by arm and depth. Judges nothing.

import { join } from "node:path";
import type { Decoder } from "../architectures/description.js";
import { decoderConfig } from "../checkpoint/attention-names.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { formatCount } from "../counted.js";
import { UsageError } from "../errors.js";
import { isTelling, type RetrievedValues, retrievalMetrics, retrievedValues } from "../metrics/retrieval-metrics.js";
import { DEPTHS } from "../prompts/retrieval-text.js";
import type { PromptEncoder } from "./encode-prompts.js";
import { encodeRetrieval, type RetrievalWindow } from "./encode-retrieval.js";
import type { EvaluatedArm } from "./evaluate-arms.js";
import { requireInteger } from "./option-checks.js";
import { longestThatFits, requireMemoryForTexts, type TextRoom } from "./retrieval-memory.js";
import { RETRIEVAL_DEFAULTS } from "./run-options.js";
import type { ArmName, RetrievalArm, RetrievalDepth, RetrievalResult } from "./verify-result.js";

export interface RetrievalOptions {
  /**
   * Tokens of a text at most. UsageError for more than `max_position_embeddings` of config.json, ProviderError for more
   * than memory holds.
   * @defaultValue `8192`, or as many as the model has positions or memory holds
   */
  readonly tokens?: number | undefined;
  /**
   * Values that the texts ask for, all together: 8 or more. There are as many texts as that takes.
   * @defaultValue `96`
   */
  readonly values?: number | undefined;
}

/** The texts, and what is looked at in them. */
export interface PreparedRetrieval {
  readonly texts: readonly RetrievalWindow[];
  readonly windows: readonly (readonly number[])[]; // [texts][tokens]
  /** Positions that predict the values' tokens. [texts][positions] */
  readonly positions: readonly (readonly number[])[];
  readonly warnings: readonly string[];
}

/** What making texts depends on. */
export interface RetrievalFacts {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly seed: number;
  /** What there is for texts of so many tokens in all. */
  readonly roomFor: (tokens: number) => Promise<TextRoom>;
}

/** Makes and encodes the texts. @throws UsageError, UnsupportedModelError, CheckpointError; ProviderError when memory is short */
export async function prepareRetrieval(
  { tokens, values = RETRIEVAL_DEFAULTS.values }: RetrievalOptions,
  { checkpoint, decoder, seed, roomFor }: RetrievalFacts,
  tokenizer: PromptEncoder,
): Promise<PreparedRetrieval> {
  requireInteger("retrieval.values", values, DEPTHS);
  const most = positionsOf(checkpoint, decoder);
  const byDefault = Math.min(RETRIEVAL_DEFAULTS.tokens, most);
  const wanted = tokens ?? (longestThatFits(await roomFor(byDefault), byDefault) || byDefault);
  requireInteger("retrieval.tokens", wanted, 1);
  if (wanted > most) {
    throw new UsageError(
      `retrieval.tokens: expected at most ${most}, the positions of ${join(checkpoint.folder, "config.json")} (max_position_embeddings), found ${wanted}. Write --retrieval-tokens ${most}, or less.`,
    );
  }
  const texts = await encodeRetrieval({ tokens: wanted, values, seed }, tokenizer, decoder.vocabularySize);
  const windows = texts.map(({ ids }) => ids);
  const all = windows.reduce((sum, ids) => sum + ids.length, 0);
  requireMemoryForTexts(
    await roomFor(all),
    all,
    windows.reduce((longest, ids) => Math.max(longest, ids.length), 0),
  );
  const positions = texts.map((text) =>
    text.values.flatMap(({ first, tokens: count }) => Array.from({ length: count }, (_, index) => first + index)),
  );
  const isShortened = tokens === undefined && wanted < byDefault;
  const warning = `Memory is short: texts for --retrieval have ${formatCount(wanted)} tokens instead of ${formatCount(byDefault)}.`;
  return { texts, windows, positions, warnings: isShortened ? [warning] : [] };
}

/** How many tokens the model was made for; Infinity where config.json does not say. */
function positionsOf({ config }: Checkpoint, { embedding }: Decoder): number {
  const inner = decoderConfig(config);
  const said = [inner.max_position_embeddings, inner.n_positions, embedding.positions?.tokens];
  const numbers = said.filter((value) => typeof value === "number" && Number.isFinite(value) && value > 0);
  return Math.min(Number.POSITIVE_INFINITY, ...(numbers as number[]));
}

/**
 * The figures of all arms, which were evaluated over the prepared positions.
 * @param arms the baseline first, as in `names`
 */
export function describeRetrieval(
  { texts, windows, positions }: PreparedRetrieval,
  names: readonly ArmName[],
  arms: readonly EvaluatedArm[],
): RetrievalResult {
  const targets = positions.flatMap((places, text) => places.map((place) => windows[text]?.[place + 1] ?? -1));
  const asked = texts.flatMap(({ values }) => values);
  const lengths = asked.map(({ tokens }) => tokens);
  const retrieved = arms.map((arm) => retrievedValues(arm.positions, targets, lengths));
  const [baseline] = retrieved;
  if (baseline === undefined) throw new RangeError("no arm was evaluated");
  const described = names.flatMap((name, index): RetrievalArm[] => {
    const arm = retrieved[index];
    return arm === undefined ? [] : [{ name, ...retrievalMetrics(arm, baseline) }];
  });
  const [first] = described;
  return {
    texts: texts.length,
    tokens: windows.reduce((sum, ids) => sum + ids.length, 0),
    longest: windows.reduce((longest, ids) => Math.max(longest, ids.length), 0),
    lines: texts.reduce((sum, { lines }) => sum + lines, 0),
    values: asked.length,
    isTelling: first !== undefined && isTelling(first),
    arms: described,
    depths: Array.from({ length: DEPTHS }, (_, depth) => describeDepth(depth, asked, names, retrieved)),
  };
}

function describeDepth(
  depth: number,
  asked: readonly { readonly depth: number }[],
  names: readonly ArmName[],
  retrieved: readonly RetrievedValues[],
): RetrievalDepth {
  const here = asked.flatMap((value, index) => (value.depth === depth ? [index] : []));
  const byArm = (figure: (arm: RetrievedValues) => number) =>
    Object.fromEntries(retrieved.map((arm, index) => [names[index], figure(arm)]));
  return {
    ...{ first: depth / DEPTHS, end: (depth + 1) / DEPTHS, values: here.length },
    found: byArm(({ found }) => here.filter((value) => found[value]).length),
    nats: byArm(({ nats }) => here.reduce((sum, value) => sum + (nats[value] ?? Number.NaN), 0) / here.length),
  };
}
