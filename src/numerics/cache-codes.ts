// The codes that a KV cache stores, whatever its format: how wide they are, what they stand for, how a number becomes one.
// Knows nothing of scales.

import { type Bits16Name, bits16Table, encodeBits16 } from "./bits16.js";
import { decodeTable, encodeFloat8, FLOAT8_CODES, type Float8CodeName } from "./float8.js";

/** Every format whose numbers are codes of one or two bytes. */
export type CodedType = Float8CodeName | Bits16Name;

export type CodeType = "uint8" | "uint16";

export function isFloat8(format: CodedType): format is Float8CodeName {
  return Object.hasOwn(FLOAT8_CODES, format);
}

export function codeTypeOf(format: CodedType): CodeType {
  return isFloat8(format) ? "uint8" : "uint16";
}

/** The number that each code stands for. @returns [256] or [65536], by code */
export function codeTable(format: CodedType): Float32Array {
  return isFloat8(format) ? decodeTable(format) : bits16Table(format);
}

/** The code of the nearest number of the format, ties to even. */
export function encodeNumber(format: CodedType, value: number): number {
  return isFloat8(format) ? encodeFloat8(format, value) : encodeBits16(format, value);
}
