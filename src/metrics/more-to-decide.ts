// How much more would decide what an interval leaves open. Pure; assumes that what comes is like what was measured: its
// figures stay, and intervals narrow with the square root of its amount.

import { counted, formatCount } from "../counted.js";
import { deviationsFor, type Interval } from "./block-mean.js";

/** What was measured. */
export interface Measured {
  /** Such as its tokens. */
  readonly amount: number;
  /** How many were observed: passages of a text, or values that were found. */
  readonly observed: number;
  /** As how many of one size these count: see effectivePassages. */
  readonly observations: number;
}

/** What an interval is judged by. */
interface Judged {
  readonly measured: Interval;
  readonly allowed: number;
}

/**
 * Fewer say too little of how observations differ: of eight, the standard deviation lies between 0.66 and 2.04 times what
 * was measured, 95 times of 100 (χ² with seven degrees of freedom), and the amount that is needed goes with its square.
 */
export const FEWEST_TO_ESTIMATE = 8;

/** Where more than this times what there is would not tell, the figure lies on its limit. */
const LARGEST_FACTOR = 2 ** 40;

/**
 * How much more, beyond what was measured, until the interval no longer reaches over the limit. The standard error
 * shrinks with 1 / √amount, and Student's quantile with the number of observations.
 * @returns undefined where too few observations say how others differ; Infinity for a value on its limit
 */
export function moreToDecide(
  { measured, allowed }: Judged,
  { amount, observations }: Omit<Measured, "observed">,
): number | undefined {
  const { value, low, high } = measured;
  // The one side may end at what is possible.
  const half = Math.max(high - value, value - low);
  if (!Number.isFinite(half) || observations < FEWEST_TO_ESTIMATE) return undefined;
  const narrowing = Math.abs(allowed - value) / half;
  const reaches = (factor: number) => shrunkTo(factor, observations) > narrowing;
  let [few, enough] = [1, 2];
  while (reaches(enough)) {
    few = enough;
    enough *= 2;
    if (enough > LARGEST_FACTOR) return Number.POSITIVE_INFINITY;
  }
  while (enough - few > few / 100) {
    const middle = (few + enough) / 2;
    if (reaches(middle)) few = middle;
    else enough = middle;
  }
  return Math.ceil((enough - 1) * amount);
}

/** The share of its width that an interval keeps with `factor` times as much. */
function shrunkTo(factor: number, observations: number): number {
  return deviationsFor(factor * observations) / deviationsFor(observations) / Math.sqrt(factor);
}

/**
 * What an estimate by moreToDecide says, and what it assumes; or why there is none.
 * @param what is counted, such as "tokens"
 */
export function moreSentence(more: number | undefined, measured: Measured, what: "tokens" | "values"): string {
  if (more === undefined) return whyUnknown(measured, what);
  if (!Number.isFinite(more)) {
    return `A figure lies on its limit, where no number of ${what} tells the side: move the limit.`;
  }
  const [extra, all] = [more, more + measured.amount].map((count) => formatCount(roundEstimate(count)));
  return `About ${extra} ${what} more (${all} in all) would decide, if they are like these. It may be a quarter of that or four times as much: how far the figure is from its limit is not known better.`;
}

function whyUnknown({ observed, observations }: Measured, what: "tokens" | "values"): string {
  if (observed <= 1) {
    return what === "tokens"
      ? "A single text says nothing of how texts differ: give several."
      : "A single value says nothing: ask for more (--retrieval-values).";
  }
  const one = what === "tokens" ? "text" : "value";
  const uneven =
    observed >= FEWEST_TO_ESTIMATE
      ? ` of very unequal lengths, which count as ${Math.floor(observations)} of one length`
      : "";
  return `How many ${what} more would decide cannot be estimated from ${counted(observed, one)}${uneven}: fewer than ${FEWEST_TO_ESTIMATE} do not show how much ${one}s differ.`;
}

/** Two digits are as many as such an estimate has: 12,345 → 12,000. */
export function roundEstimate(count: number): number {
  return Number(count.toPrecision(2));
}
