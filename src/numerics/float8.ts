// The FP8 formats of a KV cache: the numbers of their codes, and the divisor that turns an absmax into a scale. Knows
// nothing of checkpoints.

import { roundToEven } from "./round-to-even.js";

export interface Float8Code {
  readonly mantissaBits: number;
  readonly bias: number;
  /** Largest finite value. */
  readonly largest: number;
  /** The code of NaN. */
  readonly nan: number;
  readonly hasNegativeZero: boolean;
}

/** The layout of each format's codes: sign, exponent, mantissa from the highest bit down. */
export const FLOAT8_CODES = {
  float8_e4m3fn: { mantissaBits: 3, bias: 7, largest: 448, nan: 0x7f, hasNegativeZero: true },
  float8_e4m3fnuz: { mantissaBits: 3, bias: 8, largest: 240, nan: 0x80, hasNegativeZero: false },
  float8_e5m2: { mantissaBits: 2, bias: 15, largest: 57344, nan: 0x7f, hasNegativeZero: true },
} as const satisfies Record<string, Float8Code>;

/** Every FP8 format of a cache, with or without scales. */
export type Float8CodeName = keyof typeof FLOAT8_CODES;

export interface Float8Format {
  /** Largest finite value of the format. */
  readonly largest: number;
  /** absmax / divisor = scale. Not always `largest`: see FLOAT8_FORMATS. */
  readonly scaleDivisor: number;
  readonly description: string;
}

/**
 * The formats with scales. E5M2 is not among them: its range needs no scale, and no engine reads one for it.
 *
 * E4M3FNUZ divides by 224, not by its largest value 240: engines on AMD hardware double an E4M3FN scale (the same byte
 * means half the value), so a scale must mean absmax / 448 in one format and twice that in the other. With 240, every
 * engine that converts between the two would clip the largest values.
 */
export const FLOAT8_FORMATS = {
  float8_e4m3fn: {
    largest: FLOAT8_CODES.float8_e4m3fn.largest,
    scaleDivisor: 448,
    description: "E4M3FN: NVIDIA, CPU",
  },
  float8_e4m3fnuz: {
    largest: FLOAT8_CODES.float8_e4m3fnuz.largest,
    scaleDivisor: 224,
    description: "E4M3FNUZ: AMD MI300",
  },
} as const satisfies Record<string, Float8Format>;

export type Float8Name = keyof typeof FLOAT8_FORMATS;

/**
 * The number of each code. Source: the formats' tables in the OCP 8-bit floating point specification (E4M3FN, E5M2) and
 * in the ONNX documentation (E4M3FNUZ).
 * @returns [256], by code
 */
export function decodeTable(format: Float8CodeName): Float32Array {
  return Float32Array.from({ length: 256 }, (_, code) => decode(FLOAT8_CODES[format], code));
}

function decode({ mantissaBits, bias, largest, hasNegativeZero }: Float8Code, code: number): number {
  if (!hasNegativeZero && code === 0x80) return Number.NaN;
  const sign = code >= 0x80 ? -1 : 1;
  const exponent = (code & 0x7f) >> mantissaBits;
  const mantissa = code & ((1 << mantissaBits) - 1);
  const steps = exponent === 0 ? mantissa : mantissa + (1 << mantissaBits);
  const magnitude = steps * 2 ** (Math.max(exponent, 1) - bias - mantissaBits);
  if (magnitude <= largest) return sign * magnitude;
  // E5M2 has infinities as in IEEE 754: the highest exponent and a mantissa of 0. E4M3FN uses those codes for numbers.
  return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
}

/**
 * The code of the nearest number of the format, ties to the even mantissa. Values beyond the largest one, infinities
 * too, saturate to it. NaN becomes the format's NaN.
 * @param value already divided by the scale
 */
export function encodeFloat8(format: Float8CodeName, value: number): number {
  const { mantissaBits, bias, largest, nan, hasNegativeZero }: Float8Code = FLOAT8_CODES[format];
  if (Number.isNaN(value)) return nan;
  const magnitude = Math.min(Math.abs(value), largest);
  // Just below a power of two the logarithm may already be that of the power. The code is the same, because such a
  // value is rounded up to the power anyway.
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), 1 - bias);
  const steps = roundToEven(magnitude / 2 ** (exponent - mantissaBits));
  // The steps of a normal number include its leading one, so an overflow carries into the exponent.
  const code = ((exponent + bias - 1) << mantissaBits) + steps;
  if (code === 0 && !hasNegativeZero) return 0;
  return value < 0 || Object.is(value, -0) ? code | 0x80 : code;
}
