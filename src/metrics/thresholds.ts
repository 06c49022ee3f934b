// Checks an arm against each threshold: what was found, what is allowed, and a sentence about it. Pure; decides
// nothing.

import type { ArmMetrics } from "./arm-metrics.js";
import type { Interval } from "./block-mean.js";
import { formatIncrease, formatLimit, formatNats, formatRange, formatShare } from "./figures.js";

export interface Thresholds {
  /**
   * Largest allowed perplexity ratio to the baseline, minus 1: a share, 0 or more.
   * @defaultValue `0.01`
   */
  readonly maxPerplexityIncrease: number;
  /**
   * Largest allowed mean KL divergence per token, in nats, 0 or more.
   * @defaultValue `0.02`
   */
  readonly maxKl: number;
  /**
   * Smallest allowed share of positions with the baseline's most likely token, 0 to 1.
   * @defaultValue `0.9`
   */
  readonly minAgreement: number;
}

/** The noise of 16-bit rounding itself: the 16-bit cache against the exact one. */
export interface NoiseFloor {
  readonly perplexityRatio: number;
  readonly meanKl: number;
}

export interface ThresholdCheck {
  readonly name: "perplexity increase" | "mean KL divergence" | "agreement";
  /** Such as "at most 1 %". */
  readonly limit: string;
  readonly passed: boolean;
  /** What was found and, if the limit is exceeded, what is allowed. */
  readonly sentence: string;
}

/**
 * Whether the perplexities do not measurably differ: the interval contains 1, or the ratio is within the noise floor. A
 * ratio that is not finite always differs.
 */
export function isNoDifference({ value, low, high }: Interval, noiseFloor: NoiseFloor | undefined): boolean {
  if (!Number.isFinite(value)) return false;
  if (low <= 1 && high >= 1) return true;
  return noiseFloor !== undefined && Math.abs(Math.log(value)) <= Math.abs(Math.log(noiseFloor.perplexityRatio));
}

/** Checks the metrics of an arm against each threshold. NaN fails. */
export function checkThresholds(
  metrics: ArmMetrics,
  thresholds: Thresholds,
  noiseFloor: NoiseFloor | undefined,
): readonly ThresholdCheck[] {
  return [
    checkPerplexity(metrics, thresholds, noiseFloor),
    checkDivergence(metrics, thresholds),
    checkAgreement(metrics, thresholds),
  ];
}

/** Whether all thresholds are met. */
export function keepsThresholds(metrics: ArmMetrics, thresholds: Thresholds): boolean {
  return checkThresholds(metrics, thresholds, undefined).every(({ passed }) => passed);
}

function checkPerplexity(
  { perplexityRatio }: ArmMetrics,
  { maxPerplexityIncrease }: Thresholds,
  noiseFloor: NoiseFloor | undefined,
): ThresholdCheck {
  const passed = perplexityRatio.value - 1 <= maxPerplexityIncrease;
  const limit = `at most ${formatLimit(maxPerplexityIncrease)}`;
  const noDifference = isNoDifference(perplexityRatio, noiseFloor);
  const found = `${formatIncrease(perplexityRatio.value)} (${formatRange(perplexityRatio, formatIncrease)})`;
  return {
    name: "perplexity increase",
    limit,
    passed,
    sentence: passed
      ? `Perplexity: ${noDifference ? `no difference, ${found}` : found}.`
      : `Perplexity: ${found}; ${limit} is allowed.${noDifference ? " The text is too short to be sure of it." : ""}`,
  };
}

function checkDivergence({ divergence }: ArmMetrics, { maxKl }: Thresholds): ThresholdCheck {
  const passed = divergence.mean.value <= maxKl;
  const limit = `at most ${maxKl} nats`;
  const found = `Mean KL divergence: ${formatNats(divergence.mean.value)} nats (${formatRange(divergence.mean, formatNats)})`;
  return {
    name: "mean KL divergence",
    limit,
    passed,
    sentence: passed ? `${found}.` : `${found}; ${limit} is allowed.`,
  };
}

function checkAgreement({ agreement }: ArmMetrics, { minAgreement }: Thresholds): ThresholdCheck {
  const passed = agreement >= minAgreement;
  const limit = `at least ${formatLimit(minAgreement)}`;
  const found = `Most likely token: the same at ${formatShare(agreement)} of the positions`;
  return { name: "agreement", limit, passed, sentence: passed ? `${found}.` : `${found}; ${limit} is required.` };
}
