// How much more would decide: against the law of the square root, and against intervals of longer texts.

import { describe, expect, test } from "vitest";
import { deviationsFor } from "../../src/metrics/block-mean.js";
import { FEWEST_TO_ESTIMATE, moreSentence, moreToDecide, roundEstimate } from "../../src/metrics/more-to-decide.js";
import { seededRandom } from "../../src/prompts/seeded-random.js";

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
    const few = moreToDecide({ measured, allowed: 0.5 }, { amount: 1000, observations: 9 }) ?? Number.NaN;
    expect(few).toBeLessThan(2900);
    // With as much, the interval ends at the limit: its quantile and the square root are those of the longer text.
    const factor = (1000 + few) / 1000;
    const half = (0.2 * deviationsFor(9 * factor)) / deviationsFor(9) / Math.sqrt(factor);
    expect(half).toBeLessThanOrEqual(0.1);
  });

  test("are endless for a value on its limit, and unknown for an interval without an end", () => {
    expect(moreToDecide({ measured: around(0.5, 0.2), allowed: 0.5 }, MANY)).toBe(Number.POSITIVE_INFINITY);
    const endless = { measured: { value: 0.1, low: 0, high: Number.POSITIVE_INFINITY }, allowed: 0.5 };
    expect(moreToDecide(endless, MANY)).toBeUndefined();
  });

  test.each([
    [8, 0.66, 2.04],
    [7, 0.64, 2.2],
  ])(
    "are not estimated from observations that show too little of how they differ: of %d, between %d and %d",
    (count, low, high) => {
      const found = moreToDecide({ measured: around(0.4, 0.2), allowed: 0.5 }, { amount: 1000, observations: count });
      expect(found === undefined).toBe(count < FEWEST_TO_ESTIMATE);
      // The standard deviation of so many draws from a normal distribution, beside the true one.
      const random = seededRandom(count);
      const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
      const times = Array.from({ length: 20_000 }, () => 1 / deviationOf(Array.from({ length: count }, normal)));
      times.sort((a, b) => a - b);
      expect(times[500]).toBeCloseTo(low, 1);
      expect(times[19_500]).toBeCloseTo(high, 1);
    },
  );

  test("that are named are those that decide, within a factor of four in most cases", () => {
    const random = seededRandom(3);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    // What is measured lies as far from its limit as 64 texts can tell; 16 texts are read.
    const truly = 64;
    const limit = deviationsFor(truly) / Math.sqrt(truly);
    const ratios: number[] = [];
    while (ratios.length < 500) {
      const texts = Array.from({ length: 16 }, normal);
      const mean = texts.reduce((sum, value) => sum + value, 0) / texts.length;
      const half = (deviationsFor(16) * deviationOf(texts)) / 4;
      if (Math.abs(mean - limit) > half) continue;
      const judged = { measured: around(mean, half), allowed: limit };
      const more = moreToDecide(judged, { amount: 16, observations: 16 });
      ratios.push((16 + (more ?? Number.NaN)) / truly);
    }
    ratios.sort((a, b) => a - b);
    expect(ratios[250]).toBeGreaterThan(0.7);
    expect(ratios[250]).toBeLessThan(1.6);
    const near = ratios.filter((ratio) => ratio > 0.25 && ratio < 4).length;
    expect(near / ratios.length).toBeGreaterThan(0.6);
  });
});

function deviationOf(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

describe("the sentence", () => {
  const measured = (observed: number, observations = observed) => ({ amount: 10_000, observed, observations });

  test("has two digits of the estimate, what it assumes and how sure it is", () => {
    expect(moreSentence(12_345, measured(30), "tokens")).toBe(
      "About 12,000 tokens more (22,000 in all) would decide, if they are like these. It may be a quarter of that or four times as much: how far the figure is from its limit is not known better.",
    );
    expect(moreSentence(Number.POSITIVE_INFINITY, measured(30), "values")).toMatch(/no number of values/);
    expect([roundEstimate(123_456), roundEstimate(7)]).toEqual([120_000, 7]);
  });

  test.each([
    [measured(1), "tokens", /^A single text says nothing/],
    [
      measured(2, 1.5),
      "tokens",
      /^How many tokens more would decide cannot be estimated from 2 texts: fewer than 8 do not show how much texts differ\.$/,
    ],
    [measured(12, 4.7), "tokens", /cannot be estimated from 12 texts of very unequal lengths, which count as 4 of one/],
    [measured(5), "values", /^How many values more would decide cannot be estimated from 5 values: fewer than 8/],
  ] as const)("without an estimate says why: %o", (facts, what, sentence) => {
    expect(moreSentence(undefined, facts, what)).toMatch(sentence);
  });
});
