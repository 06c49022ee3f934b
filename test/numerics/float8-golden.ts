// What PyTorch makes of every bfloat16 in each FP8 format: see test/golden/make_float8_golden.py.

import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import type { Float8CodeName } from "../../src/numerics/float8.js";

interface Golden {
  readonly formats: Readonly<Record<Float8CodeName, { readonly codes: string; readonly decoded: string }>>;
}

const { formats } = JSON.parse(readFileSync(new URL("../golden/float8.json", import.meta.url), "utf8")) as Golden;

/** All bfloat16 by their bits, widened. */
export const ALL_BFLOAT16 = new Float32Array(Uint32Array.from({ length: 65536 }, (_, bits) => bits << 16).buffer);

/** The code of each bfloat16, clamped to the largest value before. */
export function goldenCodes(format: Float8CodeName): Uint8Array {
  return inflate(formats[format].codes);
}

/** The number that each code stands for. */
export function goldenDecoded(format: Float8CodeName): Float32Array {
  return new Float32Array(inflate(formats[format].decoded).buffer);
}

function inflate(text: string): Uint8Array {
  return Uint8Array.from(inflateSync(Buffer.from(text, "base64")));
}
