// Checks an arm against each threshold: what was found, what is allowed, whether that is certain, and a sentence about
// it. Pure; decides nothing.

import { counted } from "../counted.js";
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
  /**
   * Smallest allowed share of the values that are found without FP8, which are found with it, too: 0 to 1. Only judged
   * with `retrieval`, and where enough are found without FP8.
   * @defaultValue `0.9`
   */
  readonly minRetrieval: number;
}

/** What is judged of an arm. */
export interface JudgedArm {
  readonly metrics: ArmMetrics;
  /** Of the values that the baseline finds; undefined where nothing was to be retrieved, or the baseline finds too few. */
  readonly retrieval?: { readonly kept: Interval; readonly values: number } | undefined;
}

/** The noise of 16-bit rounding itself: the 16-bit cache against the exact one. */
export interface NoiseFloor {
  readonly perplexityRatio: number;
  readonly meanKl: number;
}

/** Where an interval lies: all of it within the limit, all of it beyond, or on both sides, so that nobody knows. */
export type Outcome = "within" | "beyond" | "undecided";

export interface ThresholdCheck {
  readonly name: "perplexity increase" | "mean KL divergence" | "agreement" | "retrieval";
  /** Such as "at most 1 %". */
  readonly limit: string;
  readonly outcome: Outcome;
  /** What was found and, unless all of it is within, what is allowed. */
  readonly sentence: string;
  /** What was found, in a unit in which intervals are as wide on both sides, if nothing ends them. */
  readonly measured: Interval;
  /** The limit in that unit. */
  readonly allowed: number;
  /** Whether the value itself is beyond, wherever its interval reaches. */
  readonly seemsBeyond: boolean;
}

/**
 * Whether the perplexities do not measurably differ: the interval contains 1, or the ratio is within the noise floor. A
 * ratio that is not finite always differs; where the text gives no interval, nothing is said.
 */
export function isNoDifference({ value, low, high }: Interval, noiseFloor: NoiseFloor | undefined): boolean {
  if (!Number.isFinite(value) || !Number.isFinite(high)) return false;
  if (low <= 1 && high >= 1) return true;
  return noiseFloor !== undefined && Math.abs(Math.log(value)) <= Math.abs(Math.log(noiseFloor.perplexityRatio));
}

/** Checks an arm against each threshold. What is not finite is beyond. */
export function checkThresholds(
  { metrics, retrieval }: JudgedArm,
  thresholds: Thresholds,
  noiseFloor?: NoiseFloor,
): readonly ThresholdCheck[] {
  return [
    checkPerplexity(metrics, thresholds, noiseFloor),
    checkDivergence(metrics, thresholds),
    checkAgreement(metrics, thresholds),
    ...(retrieval === undefined ? [] : [checkRetrieval(retrieval, thresholds)]),
  ];
}

/** All thresholds together: within when all are, beyond when one is. */
export function outcomeOf(arm: JudgedArm, thresholds: Thresholds): Outcome {
  return joinOutcomes(checkThresholds(arm, thresholds));
}

/** Of several checks: within when all are, beyond when one is. */
export function joinOutcomes(checks: readonly Pick<ThresholdCheck, "outcome">[]): Outcome {
  const found = (wanted: Outcome) => checks.some(({ outcome }) => outcome === wanted);
  return found("beyond") ? "beyond" : found("undecided") ? "undecided" : "within";
}

/** An interval below or above a limit; what is not finite is beyond every limit. */
function placeOf({ value, low, high }: Interval, allowed: number, kind: "at most" | "at least"): Outcome {
  if (!Number.isFinite(value)) return "beyond";
  const [isWithin, isBeyond] = kind === "at most" ? [high <= allowed, low > allowed] : [low >= allowed, high < allowed];
  return isWithin ? "within" : isBeyond ? "beyond" : "undecided";
}

/** What follows the finding. */
function verdictOn(outcome: Outcome, limit: string, is: "allowed" | "required", what = "too little text"): string {
  switch (outcome) {
    case "within":
      return ".";
    case "beyond":
      return `; ${limit} is ${is}.`;
    case "undecided":
      return `; ${limit} is ${is}: ${what} to tell.`;
  }
}

function checkPerplexity(
  { perplexityRatio: ratio }: ArmMetrics,
  { maxPerplexityIncrease }: Thresholds,
  noiseFloor?: NoiseFloor,
): ThresholdCheck {
  const measured = { value: Math.log(ratio.value), low: Math.log(ratio.low), high: Math.log(ratio.high) };
  const allowed = Math.log1p(maxPerplexityIncrease);
  const outcome = placeOf(measured, allowed, "at most");
  const limit = `at most ${formatLimit(maxPerplexityIncrease)}`;
  const none = outcome === "within" && isNoDifference(ratio, noiseFloor) ? "no difference, " : "";
  const found = `Perplexity: ${none}${formatIncrease(ratio.value)} (${formatRange(ratio, formatIncrease)})`;
  const sentence = `${found}${verdictOn(outcome, limit, "allowed")}`;
  const seemsBeyond = !(measured.value <= allowed);
  return { name: "perplexity increase", limit, outcome, sentence, measured, allowed, seemsBeyond };
}

function checkDivergence({ divergence }: ArmMetrics, { maxKl: allowed }: Thresholds): ThresholdCheck {
  const measured = divergence.mean;
  const outcome = placeOf(measured, allowed, "at most");
  const limit = `at most ${allowed} nats`;
  const found = `Mean KL divergence: ${formatNats(measured.value)} nats (${formatRange(measured, formatNats)})`;
  const sentence = `${found}${verdictOn(outcome, limit, "allowed")}`;
  const seemsBeyond = !(measured.value <= allowed);
  return { name: "mean KL divergence", limit, outcome, sentence, measured, allowed, seemsBeyond };
}

function checkAgreement(
  { agreementInterval: measured }: ArmMetrics,
  { minAgreement: allowed }: Thresholds,
): ThresholdCheck {
  const outcome = placeOf(measured, allowed, "at least");
  const limit = `at least ${formatLimit(allowed)}`;
  const found = `Most likely token: the same at ${formatShare(measured.value)} of the positions (${formatRange(measured, formatShare)})`;
  const sentence = `${found}${verdictOn(outcome, limit, "required")}`;
  const seemsBeyond = !(measured.value >= allowed);
  return { name: "agreement", limit, outcome, sentence, measured, allowed, seemsBeyond };
}

function checkRetrieval(
  { kept: measured, values }: NonNullable<JudgedArm["retrieval"]>,
  { minRetrieval: allowed }: Thresholds,
): ThresholdCheck {
  const outcome = placeOf(measured, allowed, "at least");
  const limit = `at least ${formatLimit(allowed)}`;
  const found = `Retrieval: ${Math.round(measured.value * values)} of the ${counted(values, "value")} that are found without FP8, ${formatShare(measured.value)} (${formatRange(measured, formatShare)})`;
  const sentence = `${found}${verdictOn(outcome, limit, "required", "too few values")}`;
  const seemsBeyond = !(measured.value >= allowed);
  return { name: "retrieval", limit, outcome, sentence, measured, allowed, seemsBeyond };
}
