import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromReducedVariate, quantileOf } from "../../src/numerics/extreme-values.js";
import {
  FEWEST_PROMPTS,
  forecastServing,
  LARGEST_HEADROOM,
  type ServingLevel,
  type ServingQuestion,
  SHAPE,
} from "../../src/numerics/serving-levels.js";
import { seededRandom } from "../../src/prompts/seeded-random.js";

const QUESTION: ServingQuestion = { tokens: 100_000, exceedance: 0.05 };

function levelsOf(sides: readonly (readonly number[])[], lengths: readonly number[], question = QUESTION) {
  const forecast = forecastServing(sides, lengths, question);
  if (forecast.kind !== "levels") throw new Error(forecast.why);
  return forecast.levels as readonly [ServingLevel, ...ServingLevel[]];
}

/** The maximum of a prompt whose length is `size` mean lengths. */
function drawMaximum(random: () => number, size: number, { location = 10, scale = 1, shape = SHAPE } = {}): number {
  const y = Math.log(size / -Math.log(1 - random()));
  return location + scale * fromReducedVariate(y, shape);
}

describe("coverage", () => {
  const DRAWS = 1000;
  // Four binomial deviations.
  const error = (share: number) => 4 * Math.sqrt((share * (1 - share)) / DRAWS);

  test.each([
    { prompts: 24, exceedance: 0.05, times: 10 },
    { prompts: 24, exceedance: 0.2, times: 40 },
    { prompts: 48, exceedance: 0.05, times: 3 },
  ])(
    "$prompts prompts, $times times as many: a level is exceeded as often as asked, $exceedance",
    ({ prompts, exceedance, times }) => {
      const random = seededRandom(7);
      const lengths = Array.from({ length: prompts }, (_, index) => 100 + 37 * ((index * 5) % 11));
      const total = lengths.reduce((sum, length) => sum + length, 0);
      const mean = total / prompts;
      const draw = (size: number) => drawMaximum(random, size, { location: 60 });
      const sides = Array.from({ length: DRAWS }, () => lengths.map((length) => draw(length / mean)));
      const levels = levelsOf(sides, lengths, { tokens: times * total, exceedance });
      const serving = levels.map(() => draw(times * prompts));
      const exceeded = levels.filter(({ level }, side) => (serving[side] ?? 0) > level).length / DRAWS;
      expect(Math.abs(exceeded - exceedance)).toBeLessThan(error(exceedance));
      const beyondMeasured = levels.filter(({ measured }, side) => (serving[side] ?? 0) > measured).length / DRAWS;
      const expected = levels.reduce((sum, { exceeding }) => sum + exceeding, 0) / DRAWS;
      expect(Math.abs(beyondMeasured - expected)).toBeLessThan(error(beyondMeasured));
      const truth = quantileOf({ location: 60, scale: 1, shape: SHAPE }, times * prompts, exceedance);
      const held = levels.filter(({ interval: [low, high] }) => low <= truth && truth <= high).length / DRAWS;
      expect(Math.abs(held - 0.95)).toBeLessThan(error(0.95) + 0.005);
    },
  );
});

describe("levels", () => {
  const prompts = fc.integer({ min: FEWEST_PROMPTS, max: 40 }).chain((count) =>
    fc.record({
      values: fc.array(fc.double({ min: 1, max: 9, noNaN: true }), { minLength: count, maxLength: count }),
      lengths: fc.array(fc.integer({ min: 80, max: 2000 }), { minLength: count, maxLength: count }),
    }),
  );
  const hasLevels = (values: readonly number[], lengths: readonly number[]) =>
    forecastServing([values], lengths, QUESTION).kind === "levels";

  test("scale with the maxima", () => {
    fc.assert(
      fc.property(prompts, fc.double({ min: 1e-3, max: 1e3, noNaN: true }), ({ values, lengths }, factor) => {
        fc.pre(hasLevels(values, lengths));
        const [once] = levelsOf([values], lengths);
        const [scaled] = levelsOf([values.map((value) => value * factor)], lengths);
        expect(scaled.level / (once.level * factor)).toBeCloseTo(1, 6);
        expect(scaled.exceeding).toBeCloseTo(once.exceeding, 6);
      }),
      { numRuns: 40 },
    );
  });

  test("do not depend on the order of prompts", () => {
    fc.assert(
      fc.property(prompts, ({ values, lengths }) => {
        fc.pre(hasLevels(values, lengths));
        const [forwards] = levelsOf([values], lengths);
        const [backwards] = levelsOf([values.toReversed()], lengths.toReversed());
        expect(backwards.level / forwards.level).toBeCloseTo(1, 9);
      }),
      { numRuns: 40 },
    );
  });

  test("lie in their interval, from the measured maximum to twice that", () => {
    fc.assert(
      fc.property(prompts, fc.double({ min: 1e-6, max: 0.5, noNaN: true }), ({ values, lengths }, exceedance) => {
        fc.pre(hasLevels(values, lengths));
        const [{ measured, level, interval, exceeding }] = levelsOf([values], lengths, { ...QUESTION, exceedance });
        const bounds = [measured, interval[0], level, interval[1], LARGEST_HEADROOM * measured];
        expect(bounds).toEqual(bounds.toSorted((a, b) => a - b));
        expect(measured).toBe(Math.max(...values));
        expect(exceeding).toBeGreaterThanOrEqual(0);
        expect(exceeding).toBeLessThanOrEqual(1);
      }),
      { numRuns: 60 },
    );
  });

  test("rise with the tokens that are served, and with the safety that is asked for", () => {
    const random = seededRandom(3);
    const lengths = Array.from({ length: 32 }, () => 300);
    const sides = [lengths.map(() => drawMaximum(random, 1))];
    const level = (question: Partial<ServingQuestion>) =>
      levelsOf(sides, lengths, { ...QUESTION, ...question })[0].level;
    expect(level({ tokens: 10_000 })).toBeLessThan(level({ tokens: 100_000 }));
    expect(level({ exceedance: 0.2 })).toBeLessThan(level({ exceedance: 0.01 }));
  });

  test("the same input gives the same numbers", () => {
    const random = seededRandom(4);
    const lengths = Array.from({ length: 28 }, () => 300);
    const sides = [lengths.map(() => drawMaximum(random, 1))];
    expect(forecastServing(sides, lengths, QUESTION)).toEqual(forecastServing(sides, lengths, QUESTION));
  });
});

describe("a side whose maxima hardly differ", () => {
  const random = seededRandom(5);
  const lengths = Array.from({ length: 28 }, () => 300);
  const varied = [1, 2, 3].map((scale) => lengths.map(() => drawMaximum(random, 1, { scale })));

  test.each([
    { name: "equal in all prompts", values: lengths.map(() => 7) },
    { name: "exceeded in one prompt", values: lengths.map((_, index) => (index === 3 ? 7 : 6.9)) },
    { name: "zero", values: lengths.map(() => 0) },
  ])("$name: has as much room as the median of the others", ({ values }) => {
    const [...levels] = levelsOf([...varied, values], lengths);
    const ratios = levels.slice(0, 3).map(({ level, measured }) => level / measured);
    const measured = Math.max(...values);
    expect(levels[3]?.measured).toBe(measured);
    expect(levels[3]?.level).toBeCloseTo(measured * (ratios.toSorted((a, b) => a - b)[1] ?? 0), 9);
  });

  test("a value that most prompts share says nothing of the others", () => {
    const hidden = lengths.map((_, index) => (index < 13 ? 9 : 9 + 0.1 * index));
    const shown = lengths.map((_, index) => (index < 13 ? 8.9 - 0.1 * index : 9 + 0.1 * index));
    const [a] = levelsOf([hidden, ...varied], lengths);
    const [b] = levelsOf([shown, ...varied], lengths);
    expect(a.level).not.toBe(a.measured);
    expect(a.level / b.level).toBeGreaterThan(0.7);
  });
});

describe("too few data", () => {
  const random = seededRandom(6);
  const maxima = (count: number) => [Array.from({ length: count }, () => drawMaximum(random, 1))];

  test.each([
    ["a prompt of 4 tokens", maxima(1), [4], "expected 24 prompts or more, found 1"],
    ["23 prompts", maxima(23), Array.from({ length: 23 }, () => 900), "expected 24 prompts or more, found 23"],
    [
      "24 lines of four words",
      maxima(24),
      Array.from({ length: 24 }, () => 4),
      "expected 1000 tokens or more, found 96",
    ],
    [
      "one text many times",
      [Array.from({ length: 30 }, () => 3)],
      Array.from({ length: 30 }, () => 400),
      "expected prompts with 5 different maxima or more, found less: are they one text?",
    ],
  ])("%s: nothing is forecast", (_, sides, lengths, why) => {
    expect(forecastServing(sides, lengths, QUESTION)).toEqual({ kind: "too-few", why });
  });
});
