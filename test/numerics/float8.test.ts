// Codes of the FP8 formats: against PyTorch on every bfloat16, and the rules that hold for every number.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeTable,
  encodeFloat8,
  FLOAT8_CODES,
  FLOAT8_FORMATS,
  type Float8CodeName,
} from "../../src/numerics/float8.js";
import { ALL_BFLOAT16, goldenCodes, goldenDecoded } from "./float8-golden.js";

const FORMATS = Object.keys(FLOAT8_CODES) as Float8CodeName[];

describe.each(FORMATS)("%s", (format) => {
  const { largest, nan } = FLOAT8_CODES[format];
  const table = decodeTable(format);
  const finite = [...table].filter(Number.isFinite);
  const nearestDistance = (x: number) => Math.min(...finite.map((value) => Math.abs(value - x)));

  test("every code is the number that it is in PyTorch", () => {
    expect(table).toEqual(goldenDecoded(format));
  });

  test("every bfloat16 has the code that it has in PyTorch", () => {
    const expected = goldenCodes(format);
    const wrong = [...ALL_BFLOAT16.entries()].filter(([bits, value]) => {
      return !Number.isNaN(value) && encodeFloat8(format, value) !== expected[bits];
    });
    expect(wrong).toEqual([]);
  });

  test("a NaN becomes a NaN", () => {
    expect(encodeFloat8(format, Number.NaN)).toBe(nan);
    expect(table[nan]).toBeNaN();
  });

  test("every finite number keeps its code", () => {
    const codes = [...table.keys()].filter((code) => Number.isFinite(table[code]));
    expect(codes.map((code) => encodeFloat8(format, table[code] ?? 0))).toEqual(codes);
  });

  test.each([Number.POSITIVE_INFINITY, 1e308, 57345, 1e5])("what lies beyond is the largest value: %d", (value) => {
    expect(table[encodeFloat8(format, value)]).toBe(largest);
    expect(table[encodeFloat8(format, -value)]).toBe(-largest);
  });

  test("any number becomes the nearest", () => {
    const within = fc.double({ min: -largest, max: largest, noNaN: true });
    const small = fc.double({ min: -1, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.oneof(within, small), (x) => {
        expect(Math.abs((table[encodeFloat8(format, x)] ?? 0) - x)).toBe(nearestDistance(x));
      }),
      { numRuns: 500 },
    );
  });

  test("halfway between two numbers, the even mantissa wins", () => {
    const rising = finite.filter((value) => value > 0).sort((a, b) => a - b);
    for (const [index, low] of rising.slice(0, -1).entries()) {
      const code = encodeFloat8(format, (low + (rising[index + 1] ?? 0)) / 2);
      expect(code % 2, `above ${low}`).toBe(0);
      expect([low, rising[index + 1]]).toContain(table[code]);
    }
  });

  test("just below and above a power of two, what is nearest is the power", () => {
    for (let power = 2 ** Math.floor(Math.log2(largest)); table.includes(power); power /= 2) {
      for (const x of [power * (1 - 2 ** -53), power, power * (1 + 2 ** -52)])
        expect(table[encodeFloat8(format, x)]).toBe(power);
    }
  });
});

test.each<[Float8CodeName, number]>([
  ["float8_e4m3fn", 0x80],
  ["float8_e4m3fnuz", 0],
  ["float8_e5m2", 0x80],
])("in %s, −0 and what is flushed to it have the code %d", (format, code) => {
  expect([-0, -1e-30].map((value) => encodeFloat8(format, value))).toEqual([code, code]);
});

test("scales are made for formats whose codes are known, with the same largest value", () => {
  for (const [name, { largest }] of Object.entries(FLOAT8_FORMATS))
    expect(FLOAT8_CODES).toMatchObject({ [name]: { largest } });
  expect(Object.keys(FLOAT8_FORMATS)).toEqual(["float8_e4m3fn", "float8_e4m3fnuz"]);
});
