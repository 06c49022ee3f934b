// What the metrics of an arm are, on numbers that can be followed by hand.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ArmPositions, computeArmMetrics } from "../../src/metrics/arm-metrics.js";
import { binByPosition } from "../../src/metrics/position-bins.js";

function armOf(
  nll: readonly number[],
  divergence: readonly number[] = nll.map(() => 0),
  top: readonly number[] = nll.map(() => 7),
): ArmPositions {
  return {
    negativeLogLikelihood: Float64Array.from(nll),
    divergence: Float64Array.from(divergence),
    topToken: Int32Array.from(top),
  };
}

/** Two texts, of half of the positions each. */
const inTwo = (positions: number) => [
  { positions: Math.ceil(positions / 2), passage: 0 },
  { positions: Math.floor(positions / 2), passage: 1 },
];

const nlls = fc.array(fc.double({ min: 0, max: 20, noNaN: true }), { minLength: 70, maxLength: 200 });

describe("perplexity", () => {
  test("of a model that spreads its belief evenly over 50 tokens is 50, and its error 0", () => {
    const arm = armOf(Array.from({ length: 200 }, () => Math.log(50)));
    const { perplexity, perplexityError } = computeArmMetrics(arm, arm, inTwo(200));
    expect(perplexity).toBeCloseTo(50, 10);
    expect(perplexityError).toBeCloseTo(0, 10);
  });

  test("has the error of the mean, times itself", () => {
    const arm = armOf(Array.from({ length: 128 }, (_, index) => (index < 64 ? 1 : 3)));
    const { perplexity, perplexityError } = computeArmMetrics(arm, arm, inTwo(128));
    expect(perplexity).toBeCloseTo(Math.exp(2), 10);
    expect(perplexityError).toBeCloseTo(Math.exp(2) * 1, 10);
  });
});

describe("the ratio to the baseline", () => {
  test("is the quotient of the perplexities and lies in its interval", () => {
    fc.assert(
      fc.property(nlls, nlls, (first, second) => {
        const length = Math.min(first.length, second.length);
        const [arm, baseline] = [armOf(first.slice(0, length)), armOf(second.slice(0, length))];
        const { perplexity, perplexityRatio: ratio } = computeArmMetrics(arm, baseline, inTwo(length));
        const { perplexity: expected } = computeArmMetrics(baseline, baseline, inTwo(length));
        expect(ratio.value / (perplexity / expected)).toBeCloseTo(1, 9);
        expect(ratio.low).toBeLessThanOrEqual(ratio.value);
        expect(ratio.high).toBeGreaterThanOrEqual(ratio.value);
      }),
    );
  });

  test("of the baseline to itself is 1", () => {
    fc.assert(
      fc.property(nlls, (nll) => {
        const { perplexityRatio, agreement } = computeArmMetrics(armOf(nll), armOf(nll), inTwo(nll.length));
        expect([perplexityRatio, agreement]).toEqual([{ value: 1, low: 1, high: 1 }, 1]);
      }),
    );
  });

  test("is known within no interval when there is only one text; nor is anything else", () => {
    const oneText = [{ positions: 2, passage: 0 }];
    const { perplexityRatio, divergence, agreementInterval } = computeArmMetrics(armOf([1, 2]), armOf([1, 1]), oneText);
    expect(perplexityRatio).toEqual({ value: Math.exp(0.5), low: 0, high: Infinity });
    expect(divergence.mean).toEqual({ value: 0, low: 0, high: Infinity });
    expect(agreementInterval).toEqual({ value: 1, low: 0, high: 1 });
  });
});

describe("divergence", () => {
  const metrics = (divergence: readonly number[]) => {
    const arm = armOf(
      divergence.map(() => 1),
      divergence,
    );
    return computeArmMetrics(arm, arm, inTwo(divergence.length)).divergence;
  };

  test("has its mean, median, 99th percentile and maximum, whatever the order", () => {
    const rising = Array.from({ length: 101 }, (_, index) => index);
    const shuffled = rising.map((index) => (index * 37) % 101);
    expect(metrics(shuffled)).toMatchObject({ mean: { value: 50 }, median: 50, p99: 99, max: 100 });
  });

  test("lies between two positions where NumPy puts it", () => {
    // numpy.percentile([1, 2, 3, 10], [50, 99])
    expect(metrics([10, 1, 3, 2]).median).toBe(2.5);
    expect(metrics([10, 1, 3, 2]).p99).toBeCloseTo(9.79, 12);
  });

  test("is NaN throughout when it is at one position", () => {
    const { mean, median, p99, max } = metrics([...Array.from({ length: 99 }, () => 0), Number.NaN]);
    expect([mean.value, median, p99, max]).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  });
});

test("agreement is the share of positions with the baseline's most likely token", () => {
  const arm = armOf([1, 1, 1, 1], [0, 0, 0, 0], [5, 6, 7, 8]);
  const baseline = armOf([1, 1, 1, 1], [0, 0, 0, 0], [5, 0, 7, 8]);
  expect(computeArmMetrics(arm, baseline, inTwo(4))).toMatchObject({
    agreement: 0.75,
    agreementInterval: { value: 0.75 },
  });
});

test("arms of different lengths are refused", () => {
  const short = { ...armOf([1, 2, 3]), topToken: Int32Array.of(1, 2) };
  expect(() => computeArmMetrics(short, armOf([1, 2, 3]), inTwo(3))).toThrow(RangeError);
  expect(() => computeArmMetrics(armOf([1, 2]), armOf([1, 2, 3]), inTwo(3))).toThrow(RangeError);
});

describe("bins by position", () => {
  test("double, and end where the longest window does", () => {
    const bins = binByPosition(new Float64Array(600), [100, 500]);
    expect(bins.map(({ first, end }) => [first, end])).toEqual([
      [0, 64],
      [64, 128],
      [128, 256],
      [256, 512],
    ]);
    expect(bins.map(({ positions }) => positions)).toEqual([128, 36 + 64, 128, 244]);
  });

  test("count positions from each window's beginning", () => {
    const windows = [70, 130, 3];
    const values = Float64Array.from(windows.flatMap((length) => Array.from({ length }, (_, position) => position)));
    const means = binByPosition(values, windows).map(({ mean }) => mean);
    expect(means).toEqual([(2 * 2016 + 3) / 131, (6 * 66.5 + 64 * 95.5) / 70, 128.5]);
  });

  test("hold every position once", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 6 }), (windows) => {
        const count = windows.reduce((sum, length) => sum + length, 0);
        const bins = binByPosition(new Float64Array(count).fill(1), windows);
        expect(bins.reduce((sum, { positions }) => sum + positions, 0)).toBe(count);
        expect(bins.every(({ mean, positions }) => mean === 1 && positions > 0)).toBe(true);
      }),
    );
  });
});
