// Counting tokens: what it needs per token, and that it is a model at all.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countModelNll } from "../../src/metrics/count-model.js";

const VOCABULARY = 5;

const sumOf = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0);
const meanOf = (values: Float64Array) => sumOf(values) / values.length;

test("a short text, by hand", () => {
  // α = 0.01. After 3: 3 comes with (1 + 0.01) / (1 + 0.05), then 4 with 0.01 / (2 + 0.05).
  const expected = -(Math.log(1.01 / 1.05) + Math.log(0.01 / 2.05)) / 2;
  expect(meanOf(countModelNll([[3, 3, 4]], VOCABULARY))).toBeCloseTo(expected, 12);
});

test("the first token of a window is counted and not predicted", () => {
  const expected = -(Math.log(0.01 / 1.05) + Math.log(1.01 / 3.05)) / 2;
  const windows = [
    [1, 2],
    [3, 1],
  ];
  expect(meanOf(countModelNll(windows, VOCABULARY))).toBeCloseTo(expected, 12);
});

test("the likelihoods of all tokens that may follow add up to 1", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(VOCABULARY - 1), { minLength: 1, maxLength: 30 }), (text) => {
      const total = (tokens: readonly number[]) => sumOf(countModelNll([tokens], VOCABULARY));
      const before = text.length === 1 ? 0 : total(text);
      const likelihoods = Array.from({ length: VOCABULARY }, (_, next) => Math.exp(before - total([...text, next])));
      expect(likelihoods.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
    }),
  );
});

describe("what it needs per token", () => {
  const text = (next: (index: number) => number) => [Array.from({ length: 8000 }, (_, index) => next(index))];

  test("is nearly nothing for one token over and over", () => {
    expect(
      meanOf(
        countModelNll(
          text(() => 9),
          50_000,
        ),
      ),
    ).toBeLessThan(0.25);
  });

  test("comes near log n for n tokens in turn", () => {
    expect(
      meanOf(
        countModelNll(
          text((index) => index % 16),
          64,
        ),
      ),
    ).toBeCloseTo(Math.log(16), 1);
  });

  test("is more than a uniform guess when every token is new", () => {
    expect(
      meanOf(
        countModelNll(
          text((index) => index),
          8000,
        ),
      ),
    ).toBeGreaterThan(Math.log(8000));
  });
});

test("without a token to predict there is no answer", () => {
  expect(countModelNll([[1], []], VOCABULARY)).toHaveLength(0);
});
