// Quantiles of Student's t against SciPy 1.17's scipy.stats.t.ppf(0.975, degrees).

import { expect, test } from "vitest";
import { studentT95 } from "../../src/metrics/student-t.js";

test.each([
  [1, 12.706204736174694],
  [2, 4.302652729749462],
  [3, 3.1824463052837078],
  [4, 2.7764451051977934],
  [5, 2.5705818356363146],
  [6, 2.4469118511449786],
  [9, 2.262157162798205],
  [10, 2.228138851986274],
  [17, 2.1098155778333156],
  [30, 2.0422724563012378],
  [31, 2.039513446396408],
  [100, 1.9839715185235518],
  [101, 1.983731002955606],
  [1000, 1.9623390808264083],
])("%d degrees of freedom: %d", (degrees, expected) => {
  expect(studentT95(degrees) / expected).toBeCloseTo(1, 9);
});

test("more than 1,000 degrees count as 1,000: nearly the normal distribution's 1.96", () => {
  expect(studentT95(1e9)).toBe(studentT95(1000));
  expect(studentT95(1000)).toBeCloseTo(1.96, 2);
});

test("without a degree of freedom there is no end to the interval", () => {
  expect([studentT95(0), studentT95(Number.NaN)]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
});
