// Float16 as NumPy decodes it: see test/golden/make_float16_golden.py.

import { inflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { decodeBits16 } from "../../src/numerics/bits16.js";
import { readGolden } from "../helpers/golden-checkpoints.js";

const { decoded } = readGolden<{ decoded: string }>("float16.json");

test("each of the 65,536 bit patterns stands for the number that NumPy gives, −0, NaN and infinities too", () => {
  const planes = inflateSync(Buffer.from(decoded, "base64"));
  const bytes = Uint8Array.from(planes, (_, index) => planes[(index % 4) * 65536 + Math.floor(index / 4)] ?? 0);
  const expected = new Float32Array(bytes.buffer);
  const found = Float32Array.from({ length: 65536 }, (_, bits) => decodeBits16("float16", bits));
  expect(expected).toHaveLength(65536);
  const wrong = [...expected.keys()].filter((bits) => !Object.is(found[bits], expected[bits]));
  expect(wrong).toEqual([]);
});
