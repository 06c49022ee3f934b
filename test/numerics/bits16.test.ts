// Codes of the 16-bit formats: against PyTorch (test/golden/make_bits16_golden.py), and the rules that hold for every number.

import { createHash } from "node:crypto";
import { inflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Bits16Name, bits16Table, encodeBits16 } from "../../src/numerics/bits16.js";
import { readGolden } from "../helpers/golden-checkpoints.js";

interface Golden {
  readonly formats: Readonly<Record<Bits16Name, { readonly codes: string; readonly decoded: string }>>;
}

const GOLDEN = readGolden<Golden>("bits16.json");
const FORMATS = ["bfloat16", "float16"] as const;

/** The numbers that the golden codes are of: see the script. */
function goldenNumbers(count: number): Float32Array {
  const bits = Uint32Array.from({ length: count }, (_, index) => {
    const random = Math.imul(index, 2654435761) >>> 0;
    let mantissa = random & 0x7fffff;
    if (index % 4 === 1) mantissa = (mantissa & 0x7fe000) | 0x1000;
    if (index % 4 === 3) mantissa = (mantissa & 0x7f0000) | 0x8000;
    const exponent = 98 + ((random >>> 23) % 50);
    return (random & 0x80000000) | (exponent << 23) | mantissa;
  });
  return new Float32Array(bits.buffer);
}

describe.each(FORMATS)("%s", (format) => {
  const table = bits16Table(format);
  const largest = format === "float16" ? 65504 : (2 - 2 ** -7) * 2 ** 127;
  const decoded = (value: number) => table[encodeBits16(format, value)];

  test("numbers have the codes that they have in PyTorch", () => {
    const bytes = Uint8Array.from(inflateSync(Buffer.from(GOLDEN.formats[format].codes, "base64")));
    const expected = new Uint16Array(bytes.buffer);
    expect(expected.length).toBe(4096);
    const numbers = goldenNumbers(expected.length);
    expect(Uint16Array.from(numbers, (value) => encodeBits16(format, value))).toEqual(expected);
  });

  test("codes are the numbers that they are in PyTorch", () => {
    const bits = new Uint32Array(table.length);
    for (const [code, value] of table.entries()) {
      bits[code] = Number.isNaN(value) ? 0x7fc00000 : (new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0);
    }
    expect(createHash("sha256").update(bits).digest("hex")).toBe(GOLDEN.formats[format].decoded);
  });

  test("every number of the format keeps its code, infinities and −0 too", () => {
    const codes = [...table.keys()].filter((code) => !Number.isNaN(table[code]));
    expect(codes.filter((code) => encodeBits16(format, table[code] ?? Number.NaN) !== code)).toEqual([]);
    expect(codes.length).toBeGreaterThan(63_000);
  });

  test("a NaN stays one, and what is nearer to the next power of two than to the largest is infinite", () => {
    const next = 2 ** Math.ceil(Math.log2(largest));
    expect(decoded(Number.NaN)).toBeNaN();
    expect(decoded(largest)).toBe(largest);
    expect(decoded(largest + (next - largest) * 0.49)).toBe(largest);
    expect(decoded(largest + (next - largest) * 0.5)).toBe(Number.POSITIVE_INFINITY);
    expect(decoded(-next)).toBe(Number.NEGATIVE_INFINITY);
    expect(decoded(-1e300)).toBe(Number.NEGATIVE_INFINITY);
  });

  test("no number of the format is nearer than the one that was chosen", () => {
    const within = fc.double({ min: -largest, max: largest, noNaN: true });
    const small = fc.double({ min: -1e-3, max: 1e-3, noNaN: true });
    fc.assert(
      fc.property(fc.oneof(within, small), (value) => {
        const code = encodeBits16(format, value);
        const distance = Math.abs((table[code] ?? Number.NaN) - value);
        for (const neighbour of [code - 1, code + 1]) {
          const other = table[neighbour & 0xffff] ?? Number.NaN;
          if (Number.isFinite(other)) expect(Math.abs(other - value)).toBeGreaterThanOrEqual(distance);
        }
      }),
    );
  });
});
