// The rounding of a cache is arithmetic in the graph. It is held against our code tables on every bfloat16 number, and
// against ONNX Runtime's own casts on float32 numbers around every power of two.

import { describe, expect, test } from "vitest";
import { type CachedType, type CacheRounding, throughCache } from "../../src/graphs/kv-cache.js";
import { decodeTable, encodeFloat8, FLOAT8_CODES, type Float8CodeName } from "../../src/numerics/float8.js";
import type { GraphBuilder, Value } from "../../src/onnx/graph-builder.js";
import { ELEMENT_TYPES } from "../../src/onnx/model-proto.js";
import { ALL_BFLOAT16 } from "../numerics/float8-golden.js";
import { randomTensor, runBlocks, tensor } from "./run-graph.js";

const FORMATS = Object.keys(FLOAT8_CODES) as Float8CodeName[];

async function kept(
  rounding: CacheRounding,
  numbers: Float32Array,
  other?: (builder: GraphBuilder, x: Value) => Value,
): Promise<{ readonly kept: Float32Array; readonly other: Float32Array }> {
  const shape = [1, numbers.length, 1];
  const outputs = await runBlocks(
    ({ builder }, input) => {
      const place = { layer: 0, side: "k" } as const;
      builder.output(
        throughCache(builder, [rounding], place, input("choice"), input("x")).kept,
        "kept",
        "float32",
        shape,
      );
      builder.output(other?.(builder, input("x")) ?? input("x"), "other", "float32", shape);
    },
    { x: tensor(shape, numbers), choice: { type: "int32", shape: [1], data: Int32Array.of(0) } },
  );
  const of = (name: string) => (outputs[name] ?? new Float32Array()).map((value) => value + 0); // −0 is 0
  return { kept: of("kept"), other: of("other") };
}

describe.each(FORMATS)("%s", (format) => {
  test("keeps the number that our code stands for, whatever the bfloat16", async () => {
    const numbers = ALL_BFLOAT16.filter((value) => !Number.isNaN(value));
    const { largest } = FLOAT8_CODES[format];
    const table = decodeTable(format);
    const expected = numbers.map((value) => (table[encodeFloat8(format, value)] ?? Number.NaN) + 0);
    expect((await kept({ elementType: format, largest }, numbers)).kept).toEqual(expected);
  });
});

/** Random mantissas, and the last bits before and after a power of two, in every binade from 2^first to 2^last. */
function numbersAround(first: number, last: number): Float32Array {
  const random = randomTensor([400], 7).data;
  const mantissas = [
    ...random.map((value) => 1.5 + value / 2),
    ...Array.from({ length: 60 }, (_, n) => 1 + n * 2 ** -23),
  ];
  const near = Array.from({ length: 16 }, (_, n) => [
    2 - 2 ** (-8 - n),
    2 - 1.5 * 2 ** (-8 - n),
    1 + 2 ** (-8 - n),
  ]).flat();
  const binades = Array.from({ length: last - first + 1 }, (_, index) => 2 ** (first + index));
  return Float32Array.from(binades.flatMap((power) => [...mantissas, ...near].map((m, n) => (n % 2 ? -m : m) * power)));
}

const CASTS: readonly (readonly [
  type: Exclude<CachedType, "float32">,
  first: number,
  last: number,
  largest: number,
])[] = [
  ["bfloat16", -100, 90, (2 - 2 ** -7) * 2 ** 127],
  ["float16", -30, 15, 65504],
  ["float8_e4m3fn", -20, 12, 448],
  ["float8_e4m3fnuz", -20, 12, 240],
  ["float8_e5m2", -22, 18, 57344],
];

describe.each(CASTS)("the cast to %s and back", (elementType, first, last, largest) => {
  test("is what the cache keeps, around every power of two", async () => {
    const numbers = numbersAround(first, last).filter(
      (value) => elementType !== "float16" || Math.abs(value) <= largest,
    );
    const attributes = {
      to: ELEMENT_TYPES[elementType],
      ...(elementType.startsWith("float8") && { saturate: 1 }),
    };
    const { kept: found, other: expected } = await kept({ elementType, largest }, numbers, (builder, x) =>
      builder.op("Cast", [builder.op("Cast", [x], { attributes })], { attributes: { to: ELEMENT_TYPES.float32 } }),
    );
    const wrong = [...numbers].filter((_, index) => found[index] !== expected[index]);
    expect(wrong).toEqual([]);
  });
});

test("float32 keeps every bit", async () => {
  const numbers = numbersAround(-126, 90);
  expect((await kept({ elementType: "float32", largest: 3.4e38 }, numbers)).kept).toEqual(numbers);
});
