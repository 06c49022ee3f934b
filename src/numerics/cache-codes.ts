// The codes of a KV cache in any format: their width, their numbers, and the code of a number. Knows nothing of scales.

import { type Bits16Name, bits16Table, encodeBits16 } from "./bits16.js";
import { decodeTable, encodeFloat8, FLOAT8_CODES, type Float8CodeName } from "./float8.js";

/** Every format with codes of one or two bytes. */
export type CodedType = Float8CodeName | Bits16Name;

export type CodeType = "uint8" | "uint16";

export function isFloat8(format: CodedType): format is Float8CodeName {
  return Object.hasOwn(FLOAT8_CODES, format);
}

export function codeTypeOf(format: CodedType): CodeType {
  return isFloat8(format) ? "uint8" : "uint16";
}

/** The number of each code. @returns [256] or [65536], by code */
export function codeTable(format: CodedType): Float32Array {
  return isFloat8(format) ? decodeTable(format) : bits16Table(format);
}

/** The code of the nearest number of the format, ties to even. */
export function encodeNumber(format: CodedType, value: number): number {
  return isFloat8(format) ? encodeFloat8(format, value) : encodeBits16(format, value);
}
