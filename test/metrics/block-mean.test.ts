// The mean along texts and its interval, which must hold although neighbours are alike and texts differ.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  blockMean,
  effectivePassages,
  type Interval,
  intervalOf,
  pairedDifference,
} from "../../src/metrics/block-mean.js";

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

/** A passage for each number: so many positions in one window. */
const texts = (...lengths: readonly number[]) => lengths.map((positions, passage) => ({ positions, passage }));

describe("the mean over passages", () => {
  test("is the mean over all positions, however they are cut into windows and passages", () => {
    const window = fc.record({ positions: fc.integer({ min: 0, max: 200 }), passage: fc.integer({ min: 0, max: 3 }) });
    fc.assert(
      fc.property(fc.array(window, { minLength: 1, maxLength: 5 }), fc.integer(), (windows, seed) => {
        const count = windows.reduce((sum, { positions }) => sum + positions, 0);
        fc.pre(count > 0);
        const values = normals(count, seed);
        expect(blockMean(values, windows).mean).toBeCloseTo(values.reduce((a, b) => a + b) / count, 12);
      }),
    );
  });

  test.each([
    ["short", [8, 9]],
    ["long", [2001]],
  ])("is refused for windows that are too %s", (_what, lengths) => {
    expect(() => blockMean(new Float64Array(2000), texts(...lengths))).toThrow(RangeError);
  });
});

describe("its error", () => {
  /** Positions that all have the value of their passage. */
  const flat = (...passages: readonly (readonly [value: number, positions: number])[]) =>
    Float64Array.from(passages.flatMap(([value, positions]) => Array.from({ length: positions }, () => value)));

  test("is that of the textbook when passages are equally long: deviation of their means / √passages", () => {
    const values = flat([1, 64], [4, 64], [4, 64], [7, 64]);
    const { mean, error } = blockMean(values, texts(64, 64, 64, 64));
    expect(mean).toBe(4);
    expect(error).toBeCloseTo(Math.sqrt(18 / 3 / 4), 12);
  });

  test("leaves out each passage in turn, so that a longer one weighs more", () => {
    // 60 values of 1 and 30 of 4: mean 2; without either 4 or 1.
    const { mean, error } = blockMean(flat([1, 60], [4, 30]), texts(60, 30));
    expect(mean).toBe(2);
    expect(error).toBeCloseTo(Math.sqrt((2 ** 2 + 1 ** 2) / 2), 12);
  });

  test("counts windows of one passage together, wherever they stand", () => {
    const values = flat([0, 60], [2, 60], [2, 60], [4, 60]);
    const apart = blockMean(values, texts(60, 60, 60, 60)).error;
    // Passage 0 has the windows of 0 and 4, passage 1 those of 2: their means are alike.
    const together = [0, 1, 1, 0].map((passage) => ({ positions: 60, passage }));
    const halves = [0, 0, 1, 1].map((passage) => ({ positions: 60, passage }));
    expect(blockMean(values, halves).error).toBeCloseTo(1, 12);
    expect(blockMean(values, together).error).toBeCloseTo(apart, 12);
  });

  test("is at least the one between blocks of 64 positions, where passages are alike by chance", () => {
    const values = flat([0, 64], [2, 64], [2, 64], [0, 64]);
    const { error } = blockMean(values, texts(128, 128));
    expect(error).toBeCloseTo(Math.sqrt(4 / 3 / 4), 12);
  });

  test("no block reaches into two windows", () => {
    const values = flat([-1, 40], [1, 40], [-1, 40], [1, 40]);
    expect(blockMean(values, texts(80, 80)).error).toBeLessThan(blockMean(values, texts(40, 40, 40, 40)).error);
  });

  test("grows with the values and does not mind where they lie", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: -9, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (seed, shift, factor) => {
          const values = normals(500, seed);
          const { error } = blockMean(values, texts(300, 200));
          const moved = values.map((x) => factor * x + shift);
          expect(blockMean(moved, texts(300, 200)).error).toBeCloseTo(factor * error, 11);
        },
      ),
    );
  });

  test.each([1, 64, 2000])(
    "is infinite for one text of %d positions: it says nothing of how texts differ",
    (positions) => {
      const { mean, error, deviations } = blockMean(new Float64Array(positions).fill(2), texts(positions));
      expect([mean, error, deviations]).toEqual([2, Infinity, Infinity]);
      expect(intervalOf({ mean, error, deviations })).toEqual({ value: 2, low: -Infinity, high: Infinity });
    },
  );

  test("is NaN when a value is", () => {
    const values = Float64Array.from({ length: 200 }, (_, i) => (i === 7 ? Number.NaN : i));
    expect(blockMean(values, texts(100, 100)).error).toBeNaN();
  });
});

describe("the interval", () => {
  test.each<[what: string, lengths: number[], deviations: number]>([
    ["two texts: 12.7 errors on each side", [300, 300], 12.706],
    ["three", [300, 300, 300], 4.303],
    ["fifteen", Array.from({ length: 15 }, () => 300), 2.145],
    [
      "one long text beside fourteen short ones, which is little more than one",
      [20_000, ...Array(14).fill(100)],
      12.706,
    ],
  ])("is Student's: %s", (_what, lengths, expected) => {
    const values = normals(
      lengths.reduce((a, b) => a + b),
      3,
    );
    expect(blockMean(values, texts(...lengths)).deviations).toBeCloseTo(expected, 3);
  });

  /** Texts of one to five hundred positions: neighbours are alike, and each text lies somewhat off the true mean, 0. */
  function textsAlike(count: number, seed: number) {
    const offsets = normals(count, seed + 17);
    const windows = texts(...Array.from({ length: count }, (_, text) => 100 + ((seed * 31 + text * 97) % 400)));
    const values = windows.flatMap(({ positions }, text) => [
      ...alikeNeighbours(positions, seed * 7919 + text).map((value) => value + 0.6 * (offsets[text] ?? 0)),
    ]);
    return { values: Float64Array.from(values), windows };
  }

  const holds = ({ low, high }: Interval) => low <= 0 && high >= 0;
  const share = (found: readonly boolean[]) => found.filter((isSo) => isSo).length / found.length;
  const SEEDS = Array.from({ length: 300 }, (_, seed) => seed + 1);

  test.each([3, 8, 30])("holds the true mean of %d such texts at least 95 times in 100", (count) => {
    const found = SEEDS.map((seed) => {
      const { values, windows } = textsAlike(count, seed);
      return holds(intervalOf(blockMean(values, windows)));
    });
    // Three standard deviations of 300 draws below 95 %.
    expect(share(found)).toBeGreaterThan(0.91);
  });

  test("where blocks that are taken for texts of their own would hold it far less often", () => {
    const found = SEEDS.map((seed) => {
      const { values, windows } = textsAlike(30, seed);
      const blocks = windows.flatMap(({ positions }) =>
        Array.from({ length: Math.ceil(positions / 64) }, (_, block) => Math.min(64, positions - 64 * block)),
      );
      return holds(intervalOf(blockMean(values, texts(...blocks))));
    });
    expect(share(found)).toBeLessThan(0.9);
  });
});

describe("a paired difference", () => {
  const LENGTHS = texts(1999, 2050, 900, 3051);
  const hard = alikeNeighbours(8000, 5);
  const harder = hard.map((value, index) => value + 0.01 + (index % 3) * 0.001);

  test("is the difference of the means", () => {
    expect(pairedDifference(harder, hard, LENGTHS).value).toBeCloseTo(0.011, 6);
  });

  test("is told from 0 where the two intervals overlap", () => {
    const [one, other] = [hard, harder].map((values) => intervalOf(blockMean(values, LENGTHS)));
    expect(one?.high).toBeGreaterThan(other?.low ?? Number.NaN);
    expect(pairedDifference(harder, hard, LENGTHS).low).toBeGreaterThan(0.01);
  });

  test("of a text with itself is 0, without any doubt", () => {
    expect(pairedDifference(hard, hard, LENGTHS)).toEqual({ value: 0, low: 0, high: 0 });
  });
});

test("passages of one length count as many; what is much shorter counts for little", () => {
  expect(effectivePassages(texts(50, 50, 50))).toBe(3);
  expect(effectivePassages(texts(1000, 1))).toBeCloseTo(1.002, 3);
  expect(effectivePassages([...texts(50, 50), { positions: 50, passage: 0 }])).toBeCloseTo(1.8, 12);
});
