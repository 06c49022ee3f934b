import { describe, expect, test } from "vitest";
import { formatIncrease, formatLimit, formatNats, formatRange, formatShare } from "../../src/metrics/figures.js";

describe("figures are short and lose nothing that matters", () => {
  test.each<[format: string, found: string, expected: string]>([
    ["a share", formatShare(0.93126), "93.13 %"],
    ["a whole share", formatShare(1), "100.00 %"],
    ["no share", formatShare(0), "0.00 %"],
    ["a small share is not shown as none", formatShare(1.2e-6), "0.00012 %"],
    ["nor the smallest", formatShare(1e-9), "1.0e-7 %"],
    ["an increase", formatIncrease(1.0131), "+1.31 %"],
    ["a decrease", formatIncrease(0.98), "-2.00 %"],
    ["a small increase", formatIncrease(1.0000346), "+0.0035 %"],
    ["none", formatIncrease(1), "0.00 %"],
    ["a huge one", formatIncrease(1e9), "+1.0e+11 %"],
    ["an infinite one", formatIncrease(Number.POSITIVE_INFINITY), "+∞ %"],
    ["a limit as it was given", formatLimit(0.01), "1 %"],
    ["a limit with digits", formatLimit(0.0125), "1.25 %"],
    ["a limit that is not exact in binary", formatLimit(0.07), "7 %"],
    ["nats", formatNats(0.01234), "0.0123"],
    ["few nats", formatNats(4.56e-5), "4.56e-5"],
    ["no nats", formatNats(0), "0"],
    ["nats that are not a number", formatNats(Number.NaN), "NaN"],
    ["a range", formatRange({ value: 2, low: -0.5, high: 1e6 }, formatNats), "-0.500 to 1.00e+6"],
  ])("%s", (_what, found, expected) => {
    expect(found).toBe(expected);
  });
});
