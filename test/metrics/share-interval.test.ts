// Shares and their intervals: inside 0 and 1, as wide as the texts differ, and never without any width.

import { describe, expect, test } from "vitest";
import { shareInterval, shareOfTrials } from "../../src/metrics/share-interval.js";

/** Texts of 100 positions, each with so many hits all over it. */
function textsWith(...hits: readonly number[]) {
  const values = hits.flatMap((count) =>
    Array.from({ length: 100 }, (_, index) => ((index * 37) % 100 < count ? 1 : 0)),
  );
  return shareInterval(
    Float64Array.from(values),
    hits.map((_, passage) => ({ positions: 100, passage })),
  );
}

describe("the interval of a share", () => {
  test("is wider where texts differ", () => {
    const alike = textsWith(90, 91, 90, 89, 90, 90);
    const different = textsWith(99, 70, 98, 99, 75, 99);
    expect(alike.value).toBeCloseTo(different.value, 12);
    expect(different.high - different.low).toBeGreaterThan(2 * (alike.high - alike.low));
  });

  test("has a width where every position is a hit, and it shrinks with more of them", () => {
    const some = textsWith(100, 100, 100);
    const many = textsWith(...Array.from({ length: 30 }, () => 100));
    expect(some).toMatchObject({ value: 1, high: 1 });
    expect(some.low).toBeLessThan(0.95);
    expect(many.low).toBeGreaterThan(0.99);
  });

  test("is everything for one text", () => {
    expect(textsWith(97)).toEqual({ value: 0.97, low: 0, high: 1 });
  });

  test("is NaN when a position is", () => {
    const windows = [
      { positions: 2, passage: 0 },
      { positions: 2, passage: 1 },
    ];
    expect(shareInterval(Float64Array.of(1, Number.NaN, 1, 1), windows).value).toBeNaN();
  });
});

test.each([
  // SciPy 1.17: binomtest(hits, 1001).proportion_ci(method="wilson"), where the quantile is 1.9600 and not 1.9623
  [1001, 901, 0.8799, 0.9171],
  [1001, 1001, 0.9962, 1],
])("of %d independent trials with %d hits it is Wilson's", (count, hits, low, high) => {
  const interval = shareOfTrials(hits / count, count);
  expect(interval.low).toBeCloseTo(low, 3);
  expect(interval.high).toBeCloseTo(high, 3);
});
