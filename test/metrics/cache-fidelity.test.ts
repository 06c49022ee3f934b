import { expect, test } from "vitest";
import { type FidelitySums, fidelityOf } from "../../src/metrics/cache-fidelity.js";

const SUMS: FidelitySums = { elements: 1000, signal: 5000, noise: 5, saturated: 20, flushed: 5, absmax: 448 };

test("a thousandth of the signal lost is 30 dB; counts become shares of the elements", () => {
  expect(fidelityOf(SUMS)).toEqual({
    sqnr: 30,
    saturatedShare: 0.02,
    flushedShare: 0.005,
    saturated: 20,
    elements: 1000,
    absmax: 448,
  });
});

test.each<[string, Partial<FidelitySums>, number]>([
  ["nothing lost is infinite", { noise: 0 }, Number.POSITIVE_INFINITY],
  ["nothing there and nothing lost, too", { noise: 0, signal: 0 }, Number.POSITIVE_INFINITY],
  ["as much lost as there was is 0 dB", { noise: 5000 }, 0],
  ["a cache that overflowed is NaN", { noise: Number.NaN }, Number.NaN],
])("%s", (_rule, changes, sqnr) => {
  expect(fidelityOf({ ...SUMS, ...changes }).sqnr).toBe(sqnr);
});

test("a side without elements has no share of them saturated or flushed", () => {
  const empty = fidelityOf({ elements: 0, signal: 0, noise: 0, saturated: 0, flushed: 0, absmax: 0 });
  expect([empty.saturatedShare, empty.flushedShare]).toEqual([0, 0]);
});
