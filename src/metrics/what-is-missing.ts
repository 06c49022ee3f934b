// What an inconclusive verdict has too little of, and about how much more would decide it. Pure; decides nothing.

import type { Interval } from "./block-mean.js";
import { type Measured, moreSentence, moreToDecide, roundEstimate } from "./more-to-decide.js";
import type { ThresholdCheck } from "./thresholds.js";

export interface Missing {
  readonly lacks: readonly ("text" | "values")[];
  /** Undefined where no number can be told, or none is missing. */
  readonly moreTokens: number | undefined;
  readonly moreValues: number | undefined;
  /** One for each of what it lacks. */
  readonly sentences: readonly string[];
}

/**
 * Finds it.
 * @param checks of all thresholds
 * @param gain over counting, where it is open whether the model predicts the text
 */
export function whatIsMissing(
  checks: readonly ThresholdCheck[],
  gain: Interval | undefined,
  text: Measured,
  values: Measured,
): Missing {
  const open = checks.filter(({ outcome }) => outcome === "undecided");
  // Of the figures, one that is beyond decides alone; otherwise all have to be within.
  const isSettled = checks.some(({ outcome }) => outcome === "beyond");
  const failing = open.filter(({ seemsBeyond }) => seemsBeyond);
  const deciding = isSettled ? [] : failing.length > 0 ? failing : open;
  const leastOrMost = failing.length > 0 ? Math.min : Math.max;
  const ofText = deciding.filter(({ name }) => name !== "retrieval");
  const ofValues = deciding.filter(({ name }) => name === "retrieval");
  // Whatever the figures say, the model has to predict the text.
  const toPredict = gain === undefined ? [] : [moreToDecide({ measured: gain, allowed: 0 }, text)];
  const moreTokens = joinAmounts([...toPredict, moreForAll(ofText, text, leastOrMost)], Math.max);
  const moreValues = moreForAll(ofValues, values, leastOrMost);
  const lacksText = ofText.length > 0 || gain !== undefined;
  const lacksValues = ofValues.length > 0;
  return {
    lacks: [...(lacksText ? (["text"] as const) : []), ...(lacksValues ? (["values"] as const) : [])],
    moreTokens: roundedIfKnown(moreTokens),
    moreValues: roundedIfKnown(moreValues),
    sentences: [
      ...(lacksText ? [moreSentence(moreTokens, text, "tokens")] : []),
      ...(lacksValues ? [moreSentence(moreValues, values, "values")] : []),
    ],
  };
}

/** How much more decides the checks: nothing for none of them; undefined when nobody knows. */
function moreForAll(
  checks: readonly Pick<ThresholdCheck, "measured" | "allowed">[],
  what: Measured,
  leastOrMost: (...amounts: number[]) => number,
): number | undefined {
  return joinAmounts(
    checks.map((check) => moreToDecide(check, what)),
    leastOrMost,
  );
}

function joinAmounts(
  amounts: readonly (number | undefined)[],
  leastOrMost: (...amounts: number[]) => number,
): number | undefined {
  const known = amounts.filter((amount) => amount !== undefined);
  if (known.length < amounts.length) return undefined;
  return known.length === 0 ? 0 : leastOrMost(...known);
}

function roundedIfKnown(more: number | undefined): number | undefined {
  return more !== undefined && more > 0 && Number.isFinite(more) ? roundEstimate(more) : undefined;
}
