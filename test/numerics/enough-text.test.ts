import { describe, expect, test } from "vitest";
import { isEnough } from "../../src/numerics/enough-text.js";
import { forecastServing, type ServingForecast, type ServingLevel } from "../../src/numerics/serving-levels.js";
import { seededRandom } from "../../src/prompts/seeded-random.js";

const level = (measured: number, room: number, [low, high]: readonly [number, number]): ServingLevel => ({
  measured,
  level: measured * room,
  interval: [measured * low, measured * high],
  exceeding: 0.9,
});

const forecast = (...levels: readonly ServingLevel[]): ServingForecast => ({ kind: "levels", levels, shape: 0 });

const NARROW = level(10, 1.3, [1.2, 1.4]);
const WIDE = level(10, 1.3, [1.1, 1.6]);
const TOO_FEW: ServingForecast = { kind: "too-few", why: "" };

describe("text is enough", () => {
  test.each([
    { name: "narrow intervals, and new prompts below the levels", first: [WIDE], second: [NARROW], enough: true },
    { name: "wide intervals", first: [WIDE], second: [WIDE], enough: false },
    {
      name: "most intervals narrow",
      first: [WIDE, WIDE, WIDE],
      second: [NARROW, NARROW, WIDE],
      enough: true,
    },
    {
      name: "new prompts beyond the levels of the round before",
      first: [WIDE, WIDE],
      second: [level(13.1, 1.3, [1.2, 1.4]), NARROW],
      enough: false,
    },
    {
      name: "new prompts beyond the level of one side in ten",
      first: Array.from({ length: 10 }, () => WIDE),
      second: [level(13.1, 1.3, [1.2, 1.4]), ...Array.from({ length: 9 }, () => NARROW)],
      enough: true,
    },
    { name: "a side that is zero", first: [level(0, 1, [1, 1])], second: [level(0, 1, [1, 1])], enough: true },
  ])("$name: $enough", ({ first, second, enough }) => {
    expect(isEnough(forecast(...first), forecast(...second))).toBe(enough);
  });

  test("never while there are too few prompts for a forecast", () => {
    expect(isEnough(TOO_FEW, forecast(NARROW))).toBe(false);
    expect(isEnough(forecast(NARROW), TOO_FEW)).toBe(false);
  });
});

describe("rounds of prompts that are alike", () => {
  const random = seededRandom(11);
  const PROMPTS = 128;
  const lengths = Array.from({ length: PROMPTS }, () => 300);
  const sides = Array.from({ length: 40 }, () => lengths.map(() => 10 - Math.log(-Math.log(1 - random()))));
  const first = (prompts: number, of = sides) =>
    forecastServing(
      of.map((side) => side.slice(0, prompts)),
      lengths.slice(0, prompts),
      { tokens: 1_000_000, exceedance: 0.05 },
    );

  test("16 are not enough, 128 are", () => {
    expect(isEnough(first(16), first(32))).toBe(false);
    expect(isEnough(first(64), first(PROMPTS))).toBe(true);
  });

  test("not when the last of them are of a kind that was not seen before", () => {
    const changed = sides.map((side) => side.map((value, prompt) => (prompt < 64 ? value : 2 * value)));
    expect(isEnough(first(64, changed), first(PROMPTS, changed))).toBe(false);
  });
});
