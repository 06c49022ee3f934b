// The metrics of one arm of a verification, from its values per position: perplexity, divergence from the baseline arm,
// agreement. Pure arithmetic; does not know models or caches.

import { blockMean, type Interval, intervalOf, pairedDifference, type WindowPlace } from "./block-mean.js";
import { shareInterval } from "./share-interval.js";

export type { Interval };

/** Values per position of one arm, all windows joined. */
export interface ArmPositions {
  /** Negative log-likelihood of the token that follows, nats. */
  readonly negativeLogLikelihood: Float64Array; // [positions]
  /** KL divergence from the baseline arm's distribution, nats. All 0 for the baseline itself. */
  readonly divergence: Float64Array; // [positions]
  /** The most likely token. */
  readonly topToken: Int32Array; // [positions]
}

export interface ArmMetrics {
  /** exp of the mean negative log-likelihood per token. */
  readonly perplexity: number;
  /** Standard error of the perplexity. */
  readonly perplexityError: number;
  /** Perplexity divided by the baseline's, with an interval from paired differences. */
  readonly perplexityRatio: Interval;
  /** KL divergence from the baseline per token, nats. */
  readonly divergence: { readonly mean: Interval; readonly median: number; readonly p99: number; readonly max: number };
  /** Share of positions whose most likely token is the baseline's. */
  readonly agreement: number;
  /** The same with its interval. */
  readonly agreementInterval: Interval;
}

/**
 * The metrics of one arm. Perplexity is exp(mean negative log-likelihood), its standard error by the delta method
 * perplexity × error of the mean; the ratio is exp(mean of the paired differences, and the ends of its interval). NaN at
 * one position makes all figures NaN that depend on it.
 * @param windows where the positions come from: intervals are taken between passages, see blockMean
 * @throws RangeError when an arm and the windows have different numbers of positions
 */
export function computeArmMetrics(
  arm: ArmPositions,
  baseline: ArmPositions,
  windows: readonly WindowPlace[],
): ArmMetrics {
  const { mean, error } = blockMean(arm.negativeLogLikelihood, windows);
  const perplexity = Math.exp(mean);
  const { value, low, high } = pairedDifference(arm.negativeLogLikelihood, baseline.negativeLogLikelihood, windows);
  const agreement = shareInterval(equalTokens(arm.topToken, baseline.topToken), windows);
  return {
    perplexity,
    perplexityError: perplexity * error,
    perplexityRatio: { value: Math.exp(value), low: Math.exp(low), high: Math.exp(high) },
    divergence: {
      mean: notBelowZero(intervalOf(blockMean(arm.divergence, windows))),
      ...quantilesOf(arm.divergence),
    },
    agreement: agreement.value,
    agreementInterval: agreement,
  };
}

/** No divergence is negative, but by rounding. */
function notBelowZero({ value, low, high }: Interval): Interval {
  return { value, low: Math.min(value, Math.max(0, low)), high };
}

function quantilesOf(values: Float64Array): { median: number; p99: number; max: number } {
  // Sorting puts NaN last, where only the maximum would show it.
  if (values.some(Number.isNaN)) return { median: Number.NaN, p99: Number.NaN, max: Number.NaN };
  const sorted = values.toSorted();
  return { median: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: quantile(sorted, 1) };
}

/** Quantile by linear interpolation, NumPy's default. NaN when there are no values. */
function quantile(sorted: Float64Array, share: number): number {
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return above === below ? below : below + (above - below) * (place % 1);
}

/** 1 where two tokens are equal, else 0. [positions] */
function equalTokens(tokens: Int32Array, others: Int32Array): Float64Array {
  if (tokens.length !== others.length) throw new RangeError(`${tokens.length} tokens against ${others.length}`);
  return Float64Array.from(tokens, (token, index) => (token === others[index] ? 1 : 0));
}
