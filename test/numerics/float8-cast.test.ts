// The casts that verification makes in the graph: ONNX Runtime's, against ours, on every bfloat16.

import { describe, expect, test } from "vitest";
import { decodeTable, encodeFloat8, FLOAT8_CODES, type Float8CodeName } from "../../src/numerics/float8.js";
import { ELEMENT_TYPES } from "../../src/onnx/model-proto.js";
import { runBlocks, tensor } from "../graphs/run-graph.js";
import { ALL_BFLOAT16 } from "./float8-golden.js";

const SIZE = [ALL_BFLOAT16.length];

describe.each(Object.keys(FLOAT8_CODES) as Float8CodeName[])(
  "ONNX Runtime's cast to %s and back, saturating",
  (format) => {
    test("gives the number that our code stands for, whatever the bfloat16", async () => {
      const { y } = await runBlocks(
        ({ builder }, input) => {
          const cast = builder.op("Cast", [input("x")], { attributes: { to: ELEMENT_TYPES[format], saturate: 1 } });
          const back = builder.op("Cast", [cast], { attributes: { to: ELEMENT_TYPES.float32 } });
          builder.output(back, "y", "float32", SIZE);
        },
        { x: tensor(SIZE, ALL_BFLOAT16) },
      );
      const table = decodeTable(format);
      expect(y).toEqual(ALL_BFLOAT16.map((value) => table[encodeFloat8(format, value)] ?? 0));
    });
  },
);
