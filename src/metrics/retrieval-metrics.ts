// How well an arm retrieves: whether it finds the values that a long text asks for, and how likely it takes them to be.
// Pure; knows no texts.

import type { ArmPositions } from "./arm-metrics.js";
import { blockMean, type Interval, intervalOf } from "./block-mean.js";
import { shareOfTrials } from "./share-interval.js";
import type { JudgedArm } from "./thresholds.js";

/** What an arm says of each value that is asked for. */
export interface RetrievedValues {
  /** Whether every token of the value is the most likely one. */
  readonly found: readonly boolean[]; // [values]
  /** Negative log-likelihood of the value, nats: of all of its tokens. */
  readonly nats: Float64Array; // [values]
}

export interface RetrievalMetrics {
  /** Values that it finds. */
  readonly found: number;
  /** The same as a share of all values. */
  readonly foundShare: Interval;
  /** Share of the values that the baseline finds, which it finds, too. NaN when the baseline finds none. */
  readonly kept: Interval;
  /** Mean negative log-likelihood of a value, nats. */
  readonly nats: number;
  /** By how much that is above the baseline's, from paired differences. */
  readonly extraNats: Interval;
}

/** Below this share of values that the baseline finds, the model does not do the task, and the rest says nothing. */
export const TELLING_SHARE = 0.2;

/**
 * Values from their tokens.
 * @param positions of the values' tokens, one value after the other
 * @param targets the values' tokens [positions]
 * @param lengths tokens of each value
 */
export function retrievedValues(
  { negativeLogLikelihood, topToken }: Pick<ArmPositions, "negativeLogLikelihood" | "topToken">,
  targets: readonly number[],
  lengths: readonly number[],
): RetrievedValues {
  let start = 0;
  const values = lengths.map((length) => {
    const tokens = Array.from({ length }, (_, index) => start + index);
    start += length;
    return {
      found: tokens.every((token) => topToken[token] === targets[token]),
      nats: tokens.reduce((sum, token) => sum + (negativeLogLikelihood[token] ?? Number.NaN), 0),
    };
  });
  return { found: values.map(({ found }) => found), nats: Float64Array.from(values, ({ nats }) => nats) };
}

/** The metrics of one arm. Names and numbers are drawn at random, so every value is an observation of its own. */
export function retrievalMetrics(arm: RetrievedValues, baseline: RetrievedValues): RetrievalMetrics {
  const values = arm.found.length;
  const found = countOf(arm.found);
  const ofBaseline = arm.found.filter((_, value) => baseline.found[value]);
  const each = Array.from({ length: values }, (_, value) => ({ positions: 1, passage: value }));
  const extra = arm.nats.map((nats, value) => nats - (baseline.nats[value] ?? Number.NaN));
  return {
    found,
    foundShare: shareOfTrials(found / values, values),
    kept: shareOfTrials(countOf(ofBaseline) / ofBaseline.length, ofBaseline.length),
    nats: arm.nats.reduce((sum, nats) => sum + nats, 0) / values,
    extraNats: intervalOf(blockMean(extra, each)),
  };
}

/** Whether a model finds enough values to lose some. */
export function isTelling({ foundShare }: Pick<RetrievalMetrics, "foundShare">): boolean {
  return foundShare.value >= TELLING_SHARE;
}

/**
 * What is judged of an arm: nothing where the baseline finds too little, or of the baseline itself.
 * @param retrieval the baseline's arm first
 */
export function judgedRetrieval(
  retrieval: { readonly isTelling: boolean; readonly arms: readonly NamedMetrics[] } | undefined,
  name: string,
): JudgedArm["retrieval"] {
  const [baseline] = retrieval?.arms ?? [];
  const arm = retrieval?.arms.find((one) => one.name === name);
  if (!retrieval?.isTelling || baseline === undefined || arm === undefined || arm === baseline) return undefined;
  return { kept: arm.kept, values: baseline.found };
}

type NamedMetrics = RetrievalMetrics & { readonly name: string };

function countOf(found: readonly boolean[]): number {
  return found.filter((isFound) => isFound).length;
}
