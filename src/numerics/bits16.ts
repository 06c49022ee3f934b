// float16 and bfloat16: the numbers of their codes. Both have the layout of IEEE 754: sign, exponent, mantissa, and the
// highest exponent for infinities and NaN. Does not know what the numbers are for.

import { roundToEven } from "./round-to-even.js";

interface Bits16Code {
  readonly mantissaBits: number;
  readonly bias: number;
}

const BITS16_CODES = {
  bfloat16: { mantissaBits: 7, bias: 127 },
  float16: { mantissaBits: 10, bias: 15 },
} as const satisfies Record<string, Bits16Code>;

export type Bits16Name = keyof typeof BITS16_CODES;

/** Bits of exponent and mantissa together. */
const MAGNITUDE_BITS = 15;
const SIGN = 1 << MAGNITUDE_BITS;

/** The number of each code. @returns [65536], by code */
export function bits16Table(format: Bits16Name): Float32Array {
  return Float32Array.from({ length: 2 ** 16 }, (_, code) => decodeBits16(format, code));
}

/** The number of a code. */
export function decodeBits16(format: Bits16Name, code: number): number {
  const { mantissaBits, bias }: Bits16Code = BITS16_CODES[format];
  const sign = code >= SIGN ? -1 : 1;
  const exponent = (code & (SIGN - 1)) >> mantissaBits;
  const mantissa = code & ((1 << mantissaBits) - 1);
  if (exponent === (1 << (MAGNITUDE_BITS - mantissaBits)) - 1) {
    return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  const steps = exponent === 0 ? mantissa : mantissa + (1 << mantissaBits);
  return sign * steps * 2 ** (Math.max(exponent, 1) - bias - mantissaBits);
}

/**
 * The code of the nearest number of the format, ties to the even mantissa. What is nearer to the power of two above the
 * largest value becomes infinity; NaN becomes the quiet NaN.
 */
export function encodeBits16(format: Bits16Name, value: number): number {
  const { mantissaBits, bias } = BITS16_CODES[format];
  const infinity = SIGN - (1 << mantissaBits);
  if (Number.isNaN(value)) return infinity | (1 << (mantissaBits - 1));
  const sign = value < 0 || Object.is(value, -0) ? SIGN : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 2 ** (bias + 1)) return sign | infinity;
  // As in encodeFloat8: where the logarithm is already that of the next power of two, the value is rounded up to it
  // anyway.
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), 1 - bias);
  const steps = roundToEven(magnitude / 2 ** (exponent - mantissaBits));
  // An overflow of the mantissa carries into the exponent, and from the largest value into infinity.
  return sign | (((exponent + bias - 1) << mantissaBits) + steps);
}

/** The smallest bfloat16 that is not below a positive number. */
export function roundUpToBfloat16(value: number): number {
  const code = encodeBits16("bfloat16", value);
  const nearest = decodeBits16("bfloat16", code);
  return nearest >= value ? nearest : decodeBits16("bfloat16", code + 1);
}
