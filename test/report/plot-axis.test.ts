// The axis that shows values: when it is logarithmic, where it ends, and that everything has a place on it.

import fc from "fast-check";
import { expect, test } from "vitest";
import { axisFor, placeOn } from "../../src/report/plot-axis.js";

test.each<[string, number[], boolean, object]>([
  ["values of like size: linear, from 0", [3, 4, 5], true, { scale: "linear", low: 0, high: 5.5 }],
  ["values far apart: from power of ten to power of ten", [0.02, 30], true, { scale: "log", low: 0.01, high: 100 }],
  ["a value on a power of ten keeps away from the edge", [0.01, 10], true, { scale: "log", low: 0.001, high: 100 }],
  [
    "zeros: a power lower, where they lie",
    [0, 0.02, 30],
    true,
    { scale: "log", low: 0.001, high: 100, zeroAtLow: true },
  ],
  ["values too small for a power of ten", [5e-324, 2.5e-322], true, { scale: "log", low: 1e-300, high: 1e-299 }],
  ["zeros alone: linear", [0, 0], true, { scale: "linear", low: 0, high: 1 }],
  ["nothing that is finite", [Number.NaN, Number.POSITIVE_INFINITY], true, { scale: "linear", low: 0, high: 1 }],
  ["what is not finite does not stretch it", [1, Number.POSITIVE_INFINITY], true, { high: 1.1 }],
  ["decibels far apart: linear all the same", [0.5, 60], false, { scale: "linear", low: 0, high: 66 }],
  ["decibels below 0", [-10, 20], false, { scale: "linear", low: -11, high: 22 }],
])("%s", (_rule, values, canBeLog, expected) => {
  const found: Record<string, unknown> = { ...axisFor(values, "", canBeLog) };
  for (const [key, value] of Object.entries(expected))
    if (typeof value === "number") expect(found[key], key).toBeCloseTo(value, 9);
    else expect(found[key], key).toBe(value);
});

test("a finite value of 0 or more has its place between the ends; others have none", () => {
  const size = fc.double({ min: 0, max: 1e200, noNaN: true });
  fc.assert(
    fc.property(fc.array(size, { minLength: 1 }), (values) => {
      const axis = axisFor([...values, Number.NaN], "", true);
      expect(axis.low).toBeLessThan(axis.high);
      for (const value of values) {
        const place = placeOn(axis, value) ?? Number.NaN;
        expect(place).toBeGreaterThanOrEqual(axis.low);
        expect(place).toBeLessThanOrEqual(axis.high);
        if (axis.scale === "log") expect(axis.low).toBeGreaterThan(0);
      }
      expect(placeOn(axis, Number.NaN)).toBeNull();
    }),
  );
});
