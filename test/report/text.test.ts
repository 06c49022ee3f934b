// Numbers as people read them.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { counted, formatCount } from "../../src/counted.js";
import { formatBar, formatBytes, formatSeconds, formatValue } from "../../src/report/text.js";

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [1536, "1.5 KiB"],
  [2 ** 20, "1.0 MiB"],
  [1.5 * 2 ** 30, "1.5 GiB"],
  [2 ** 40, "1.0 TiB"],
  [3000 * 2 ** 40, "3000.0 TiB"],
])("%d bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [-1, "0 s"],
  [0.4, "0 s"],
  [59.4, "59 s"],
  [59.6, "1 min 0 s"],
  [75, "1 min 15 s"],
  [3599, "59 min 59 s"],
  [3600, "1 h 0 min"],
  [90061, "25 h 1 min"],
])("%d seconds are %s", (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test.each([
  [0, "0"],
  [999, "999"],
  [12345.6, "12,346"],
  [1e9, "1,000,000,000"],
])("a count of %d is %s", (count, text) => {
  expect(formatCount(count)).toBe(text);
});

test.each([
  [0, "0 prompts"],
  [1, "1 prompt"],
  [2, "2 prompts"],
  [2048, "2,048 prompts"],
])("%d of a thing are %s", (count, text) => {
  expect(counted(count, "prompt")).toBe(text);
});

test("a plural that is not the singular and an s is given", () => {
  expect([1, 3].map((count) => counted(count, "library", "libraries"))).toEqual(["1 library", "3 libraries"]);
});

test.each([
  [0, "0.0000"],
  [1, "1.0000"],
  [448, "448.00"],
  [12.3456789, "12.346"],
  [0.000123456, "0.00012346"],
  [0.0000123456, "1.235e-5"],
  [99999, "99999"],
  [99999.9, "1.0000e+5"],
  [1e6, "1.000e+6"],
  [3.4e38, "3.400e+38"],
])("the value %d is %s", (value, text) => {
  expect(formatValue(value)).toBe(text);
});

describe("a bar", () => {
  test.each([
    [0, "    "],
    [1 / 32, "▏   "],
    [0.25, "█   "],
    [0.5, "██  "],
    [0.65, "██▋ "],
    [1, "████"],
    [-1, "    "],
    [7, "████"],
  ])("of %d is %j", (fraction, bar) => {
    expect(formatBar(fraction, 4)).toBe(bar);
  });

  test("is always as wide as it should be, and never shrinks as the fraction grows", () => {
    const filled = (bar: string) => bar.trimEnd().length;
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 40 }),
        (a, b, width) => {
          const [less, more] = [formatBar(Math.min(a, b), width), formatBar(Math.max(a, b), width)];
          expect([less.length, more.length]).toEqual([width, width]);
          expect(filled(less)).toBeLessThanOrEqual(filled(more));
        },
      ),
    );
  });
});

test("a value is at most 10 characters wide, as the columns of the report are", () => {
  fc.assert(
    fc.property(fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }), (value) => {
      expect(formatValue(value).length).toBeLessThanOrEqual(10);
    }),
  );
});
