import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FLOAT8_FORMATS, type Float8Name } from "../../src/numerics/float8.js";
import { computeLayerScales, computeScale, roundUpToFloat32 } from "../../src/numerics/scales.js";

const LARGEST_FLOAT32 = 3.4028234663852886e38;
const dtypes = Object.keys(FLOAT8_FORMATS) as Float8Name[];

/** The float32 whose bits, ordered as the numbers are, lie `steps` further. */
function stepFloat32(x: number, steps: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, x);
  const bits = view.getInt32(0);
  const order = (bits < 0 ? -(bits & 0x7fffffff) : bits) + steps;
  view.setInt32(0, order < 0 ? -order | 0x80000000 : order);
  return view.getFloat32(0);
}

const anyDouble = fc.oneof(
  fc.double({ min: -LARGEST_FLOAT32, max: LARGEST_FLOAT32, noNaN: true }),
  fc.double({ min: -1e-37, max: 1e-37, noNaN: true }),
  fc.float({ noNaN: true, noDefaultInfinity: true }),
);
const positiveFloat32 = fc.float({ min: 0, minExcluded: true, noNaN: true, noDefaultInfinity: true });

describe("rounding up to float32", () => {
  test("gives the smallest float32 that is not below x", () => {
    fc.assert(
      fc.property(anyDouble, (x) => {
        const rounded = roundUpToFloat32(x);
        expect(rounded >= x).toBe(true);
        expect(stepFloat32(rounded, 0) === rounded).toBe(true);
        expect(stepFloat32(rounded, -1) < x).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test.each<[what: string, x: number, expected: number]>([
    ["a float32 stays", 0.5, 0.5],
    ["zero stays", 0, 0],
    ["a third goes up", 1 / 3, 0.3333333432674408],
    ["a tenth goes up, where the nearest is already above", 0.1, 0.10000000149011612],
    ["0.7 goes up, where the nearest is below", 0.7, 0.7000000476837158],
    ["the least double becomes the least float32", 5e-324, 2 ** -149],
    ["below the least float32 towards zero", -1e-60, -0],
    ["negative numbers go towards zero", -0.7, -0.699999988079071],
    ["the largest float32 stays", LARGEST_FLOAT32, LARGEST_FLOAT32],
    ["far below all float32, the lowest of them", -1e300, -LARGEST_FLOAT32],
  ])("%s", (_what, x, expected) => {
    expect(roundUpToFloat32(x)).toBe(expected);
  });

  test.each([3.402823466385289e38, 3.5e38, 1e300, Infinity, Number.NaN, -Infinity])("%d is refused", (x) => {
    expect(() => roundUpToFloat32(x)).toThrow(RangeError);
  });
});

describe("a scale", () => {
  test.each<[dtype: Float8Name, absmax: number, expected: number]>([
    ["float8_e4m3fn", 448, 1],
    ["float8_e4m3fn", 224, 0.5],
    ["float8_e4m3fn", 44.8, 0.10000000149011612],
    ["float8_e4m3fnuz", 224, 1],
    ["float8_e4m3fnuz", 448, 2],
    ["float8_e4m3fnuz", 240, 1.071428656578064],
  ])("%s: absmax %d gives %d", (dtype, absmax, expected) => {
    expect(computeScale(absmax, dtype, 1)).toBe(expected);
  });

  // What engines do: both numbers are float32, and so is the quotient.
  test.each<[dtype: Float8Name, largest: number]>([
    ["float8_e4m3fn", 448],
    ["float8_e4m3fnuz", 224],
  ])("%s: absmax divided by it in float32 never exceeds %d, with any headroom", (dtype, largest) => {
    fc.assert(
      fc.property(positiveFloat32, fc.double({ min: 1, max: 16, noNaN: true }), (absmax, headroom) => {
        fc.pre(absmax * headroom <= LARGEST_FLOAT32);
        const scale = computeScale(absmax, dtype, headroom);
        expect(stepFloat32(scale, 0)).toBe(scale);
        expect(Math.fround(absmax / scale)).toBeLessThanOrEqual(largest);
      }),
      { numRuns: 1000 },
    );
  });

  test.each<[dtype: Float8Name, largest: number]>([
    ["float8_e4m3fn", 448],
    ["float8_e4m3fnuz", 224],
  ])("%s: the next smaller float32 would clip, so no accuracy is given away", (dtype, largest) => {
    fc.assert(
      fc.property(positiveFloat32, (absmax) => {
        const scale = computeScale(absmax, dtype, 1);
        fc.pre(scale > 2 ** -126);
        // Both products are exact in float64: 24 bits times 9.
        expect(scale * largest >= absmax && stepFloat32(scale, -1) * largest < absmax).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("of E4M3FNUZ is twice that of E4M3FN: the same bytes, half the value", () => {
    fc.assert(
      fc.property(fc.float({ min: 2 ** -100, max: 2 ** 100, noNaN: true }), (absmax) => {
        expect(computeScale(absmax, "float8_e4m3fnuz", 1)).toBe(2 * computeScale(absmax, "float8_e4m3fn", 1));
      }),
    );
  });

  test.each<[headroom: number, expected: number]>([
    [1, 1],
    [1.5, 1.5],
    [16, 16],
    [0.5, 0.5],
  ])("headroom %d multiplies it", (headroom, expected) => {
    expect(computeScale(448, "float8_e4m3fn", headroom)).toBe(expected);
  });

  describe.each(dtypes)("of %s", (dtype) => {
    test("is 1 when nothing but zeros was seen, whatever the headroom", () => {
      expect(computeScale(0, dtype, 1)).toBe(1);
      expect(computeScale(-0, dtype, 4)).toBe(1);
    });

    test("is never subnormal, which many devices take for zero", () => {
      for (const absmax of [5e-324, 1e-45, 1e-40, 2 ** -126]) expect(computeScale(absmax, dtype, 1)).toBe(2 ** -126);
    });

    test("has no floor at 1", () => {
      expect(computeScale(0.01, dtype, 1)).toBeLessThan(0.0001);
    });

    test.each([Number.NaN, Infinity, -Infinity, -1, -5e-324])("is refused for an absmax of %d", (absmax) => {
      expect(() => computeScale(absmax, dtype, 1)).toThrow(RangeError);
      expect(() => computeScale(absmax, dtype, 1)).toThrow(`absmax ${absmax}`);
    });

    test.each([Number.NaN, Infinity, 0, -1])("is refused for a headroom of %d", (headroom) => {
      expect(() => computeScale(1, dtype, headroom)).toThrow(RangeError);
      expect(() => computeScale(1, dtype, headroom)).toThrow(`headroom ${headroom}`);
    });

    test("is refused beyond float32", () => {
      expect(() => computeScale(1e300, dtype, 1)).toThrow(RangeError);
    });
  });
});

describe("the scales of a layer", () => {
  test("kv_scale is the larger of the two", () => {
    expect(computeLayerScales(3, { k: 448, v: 44.8 }, "float8_e4m3fn", 1)).toEqual({
      layer: 3,
      kScale: 1,
      vScale: 0.10000000149011612,
      kvScale: 1,
    });
    fc.assert(
      fc.property(positiveFloat32, positiveFloat32, fc.constantFrom(...dtypes), (k, v, dtype) => {
        const { kScale, vScale, kvScale } = computeLayerScales(0, { k, v }, dtype, 1);
        expect(kvScale).toBe(Math.max(kScale, vScale));
      }),
    );
  });

  test.each([
    { k: 44.8, v: 0, expected: { kScale: 0.10000000149011612, vScale: 1, kvScale: 0.10000000149011612 } },
    { k: 0, v: 44.8, expected: { kScale: 1, vScale: 0.10000000149011612, kvScale: 0.10000000149011612 } },
    { k: 0, v: 0, expected: { kScale: 1, vScale: 1, kvScale: 1 } },
  ])("a silent side does not raise kv_scale: K $k, V $v", ({ k, v, expected }) => {
    expect(computeLayerScales(0, { k, v }, "float8_e4m3fn", 1)).toEqual({ layer: 0, ...expected });
  });

  test.each([
    { k: Number.NaN, v: 1 },
    { k: 1, v: Number.NaN },
    { k: Infinity, v: 1 },
    { k: 1, v: Infinity },
  ])("K $k with V $v is refused", (absmax) => {
    expect(() => computeLayerScales(0, absmax, "float8_e4m3fn", 1)).toThrow(RangeError);
  });
});
