// Decodes the elements of float tensors of at least 16 bits. Knows nothing of what they are for.

import { decodeBits16 } from "../numerics/bits16.js";

type Decode = (data: DataView, element: number) => number;

const DECODERS: Readonly<Record<string, Decode>> = {
  F64: (data, element) => data.getFloat64(8 * element, true),
  F32: (data, element) => data.getFloat32(4 * element, true),
  F16: (data, element) => decodeBits16("float16", data.getUint16(2 * element, true)),
  BF16: (data, element) => decodeBits16("bfloat16", data.getUint16(2 * element, true)),
};

/** Whether elements of a dtype can be decoded here. */
export function isFloatDtype(dtype: string): boolean {
  return Object.hasOwn(DECODERS, dtype);
}

/** The numbers of a dtype that `isFloatDtype`. @throws RangeError for another */
export function decodeFloats(dtype: string, bytes: Uint8Array, count: number): number[] {
  const decode = isFloatDtype(dtype) ? DECODERS[dtype] : undefined;
  if (decode === undefined) throw new RangeError(`no floats of dtype ${dtype}`);
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, element) => decode(data, element));
}
