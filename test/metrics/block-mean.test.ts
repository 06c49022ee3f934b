// The mean along a text and its error: the error must hold although neighbours are alike.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { blockMean, intervalOf, pairedDifference } from "../../src/metrics/block-mean.js";

/** Normally distributed numbers around 0 (Box and Muller), equal in every run. */
function normals(count: number, seed: number): Float64Array {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float64Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** Each value has three quarters of the one before it. Their true mean is 0. */
function alikeNeighbours(count: number, seed: number): Float64Array {
  let last = 0;
  return normals(count, seed).map((value) => {
    last = 0.75 * last + value;
    return last;
  });
}

const WINDOWS = [1999, 2050, 900, 3051];
const POSITIONS = WINDOWS.reduce((sum, length) => sum + length, 0);

describe("the mean over blocks", () => {
  test("is the mean over all positions, however they are cut into windows", () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(lengths, fc.integer(), (windowLengths, seed) => {
        const count = windowLengths.reduce((sum, length) => sum + length, 0);
        fc.pre(count > 0);
        const values = normals(count, seed);
        expect(blockMean(values, windowLengths).mean).toBeCloseTo(values.reduce((a, b) => a + b) / count, 12);
      }),
    );
  });

  test.each([
    ["short", [8, 9]],
    ["long", [2001]],
  ])("is refused for windows that are too %s", (_what, windowLengths) => {
    expect(() => blockMean(new Float64Array(2000), windowLengths)).toThrow(RangeError);
  });
});

describe("its error", () => {
  test("is that of the textbook when blocks are equally long: deviation of the block means / √blocks", () => {
    const blocks = [1, 4, 4, 7];
    const values = Float64Array.from(blocks.flatMap((value) => Array.from({ length: 64 }, () => value)));
    expect(blockMean(values, [128, 128])).toEqual({ mean: 4, error: Math.sqrt(18 / 3 / 4) });
  });

  test("counts a shorter block for as much as it is long", () => {
    // 64 values of 1 and 32 of 4: mean 2; sums less their share 64 − 128 and 128 − 64.
    const values = Float64Array.from({ length: 96 }, (_, index) => (index < 64 ? 1 : 4));
    expect(blockMean(values, [96])).toEqual({ mean: 2, error: Math.sqrt(2 * (64 ** 2 + 64 ** 2)) / 96 });
  });

  test("no block reaches into two windows", () => {
    const values = Float64Array.from({ length: 80 }, (_, index) => (index < 40 ? -1 : 1));
    expect(blockMean(values, [80]).error).not.toBe(blockMean(values, [40, 40]).error);
    expect(blockMean(values, [40, 40]).error).toBe(Math.sqrt(2 * 2 * 40 ** 2) / 80);
  });

  test("grows with the values and does not mind where they lie", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: -9, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (seed, shift, factor) => {
          const values = normals(500, seed);
          const { error } = blockMean(values, [300, 200]);
          expect(
            blockMean(
              values.map((x) => factor * x + shift),
              [300, 200],
            ).error,
          ).toBeCloseTo(factor * error, 12);
        },
      ),
    );
  });

  test.each([1, 64])("is infinite for %d positions: one block says nothing of the spread", (positions) => {
    expect(blockMean(new Float64Array(positions).fill(2), [positions])).toEqual({ mean: 2, error: Infinity });
  });

  test("is NaN when a value is", () => {
    expect(
      blockMean(
        Float64Array.from({ length: 200 }, (_, i) => (i === 7 ? Number.NaN : i)),
        [200],
      ).error,
    ).toBeNaN();
  });
});

describe("of 400 texts whose neighbours are alike, the interval holds the true mean", () => {
  const texts = Array.from({ length: 400 }, (_, seed) => alikeNeighbours(POSITIONS, seed * 7919 + 1));
  const held = (windowLengths: readonly number[]) =>
    texts.filter((values) => {
      const { low, high } = intervalOf(blockMean(values, windowLengths));
      return low <= 0 && high >= 0;
    }).length / texts.length;

  test("in about 95 of 100", () => {
    expect(held(WINDOWS)).toBeGreaterThan(0.91);
    expect(held(WINDOWS)).toBeLessThan(0.98);
  });

  test("where an error per position would hold it in far fewer", () => {
    expect(held(Array.from({ length: POSITIONS }, () => 1))).toBeLessThan(0.7);
  });
});

describe("a paired difference", () => {
  const hard = alikeNeighbours(POSITIONS, 5);
  const harder = hard.map((value, index) => value + 0.01 + (index % 3) * 0.001);

  test("is the difference of the means", () => {
    expect(pairedDifference(harder, hard, WINDOWS).value).toBeCloseTo(0.011, 6);
  });

  test("is told from 0 where the two intervals overlap", () => {
    const [one, other] = [hard, harder].map((values) => intervalOf(blockMean(values, WINDOWS)));
    expect(one?.high).toBeGreaterThan(other?.low ?? Number.NaN);
    expect(pairedDifference(harder, hard, WINDOWS).low).toBeGreaterThan(0.01);
  });

  test("of a text with itself is 0, without any doubt", () => {
    expect(pairedDifference(hard, hard, WINDOWS)).toEqual({ value: 0, low: 0, high: 0 });
  });
});
