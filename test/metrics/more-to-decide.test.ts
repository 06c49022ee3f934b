// How much more would decide: against the law of the square root, and against intervals of longer texts.

import { describe, expect, test } from "vitest";
import { deviationsFor } from "../../src/metrics/block-mean.js";
import { moreSentence, moreToDecide, roundEstimate } from "../../src/metrics/more-to-decide.js";

const around = (value: number, half: number) => ({ value, low: value - half, high: value + half });
const MANY = { amount: 1000, observations: 1e6 };

describe("tokens to decide", () => {
  test.each([
    ["half as wide: four times the text", 0.1, 0.2, 3000],
    ["on the other side of the limit, too", -0.1, 0.2, 3000],
    ["a tenth as wide: a hundred times the text", 0.02, 0.2, 99_000],
    ["wide enough already: none", 0.2, 0.2, 0],
  ])("%s", (_what, distance, half, expected) => {
    const found = moreToDecide({ measured: around(0.5 - distance, half), allowed: 0.5 }, MANY);
    expect(Math.abs((found ?? Number.NaN) - expected)).toBeLessThanOrEqual(0.02 * (expected + 1000));
  });

  test("of few passages, Student's quantile shrinks, too: less text is enough", () => {
    const measured = around(0.4, 0.2);
    const few = moreToDecide({ measured, allowed: 0.5 }, { amount: 1000, observations: 3 }) ?? Number.NaN;
    expect(few).toBeLessThan(2000);
    // With as much, the interval ends at the limit: its quantile and the square root are those of the longer text.
    const factor = (1000 + few) / 1000;
    const half = (0.2 * deviationsFor(3 * factor)) / deviationsFor(3) / Math.sqrt(factor);
    expect(half).toBeLessThanOrEqual(0.1);
  });

  test("are endless for a value on its limit, and unknown for a single passage", () => {
    expect(moreToDecide({ measured: around(0.5, 0.2), allowed: 0.5 }, MANY)).toBe(Number.POSITIVE_INFINITY);
    const single = { measured: { value: 0.1, low: 0, high: Number.POSITIVE_INFINITY }, allowed: 0.5 };
    expect(moreToDecide(single, { amount: 1000, observations: 1 })).toBeUndefined();
  });
});

test("the sentence has two digits of the estimate, and what it assumes", () => {
  expect(moreSentence(12_345, 10_000, "tokens")).toBe(
    "About 12,000 tokens more (22,000 in all) would decide, if they are like these: intervals narrow with the square root of the tokens.",
  );
  expect(moreSentence(undefined, 500, "tokens")).toMatch(/^A single text says nothing/);
  expect(moreSentence(Number.POSITIVE_INFINITY, 500, "values")).toMatch(/no number of values/);
  expect([roundEstimate(123_456), roundEstimate(7)]).toEqual([120_000, 7]);
});
