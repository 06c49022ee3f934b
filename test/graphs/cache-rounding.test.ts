// The rounding of a cache is arithmetic in the graph, exact on every provider. It is held against our code tables on every
// bfloat16 number, and against ONNX Runtime's own casts on float32 numbers around every power of two: on the processor, and
// on a device of WebGPU where there is one.

import { describe, expect, test } from "vitest";
import { type CachedType, type CacheRounding, throughCache } from "../../src/graphs/kv-cache.js";
import { decodeTable, encodeFloat8, FLOAT8_CODES, type Float8CodeName } from "../../src/numerics/float8.js";
import type { GraphBuilder, Value } from "../../src/onnx/graph-builder.js";
import { ELEMENT_TYPES } from "../../src/onnx/model-proto.js";
import type { ProviderName } from "../../src/runtime/providers.js";
import { findWebGpuDevice } from "../helpers/webgpu-device.js";
import { ALL_BFLOAT16 } from "../numerics/float8-golden.js";
import { randomTensor, runBlocks, tensor } from "./run-graph.js";

const device = await findWebGpuDevice();
Object.assign(process.env, device.env); // Vulkan's loader reads it when the first session opens
const PROVIDERS: readonly ProviderName[] = device.env === undefined ? ["cpu"] : ["cpu", "webgpu"];
if (device.env === undefined) test.skip(`on a device of WebGPU (${device.reason})`, () => {});

const FORMATS = Object.keys(FLOAT8_CODES) as Float8CodeName[];

/** Runs numbers through a graph of one output. −0 is 0. */
async function through(
  provider: ProviderName,
  numbers: Float32Array,
  record: (builder: GraphBuilder, x: Value, choice: Value) => Value,
): Promise<Float32Array> {
  const shape = [1, numbers.length, 1];
  const { y } = await runBlocks(
    ({ builder }, input) => builder.output(record(builder, input("x"), input("choice")), "y", "float32", shape),
    { x: tensor(shape, numbers), choice: { type: "int32", shape: [1], data: Int32Array.of(0) } },
    {},
    { provider },
  );
  expect(y).toHaveLength(numbers.length);
  return (y ?? new Float32Array()).map((value) => value + 0);
}

function kept(provider: ProviderName, rounding: CacheRounding, numbers: Float32Array): Promise<Float32Array> {
  const place = { layer: 0, side: "k" } as const;
  return through(provider, numbers, (builder, x, choice) => throughCache(builder, [rounding], place, choice, x).kept);
}

/** By ONNX Runtime's own casts, on the processor. */
function castAndBack(elementType: CachedType, numbers: Float32Array): Promise<Float32Array> {
  const attributes = { to: ELEMENT_TYPES[elementType], ...(elementType.startsWith("float8") && { saturate: 1 }) };
  return through("cpu", numbers, (builder, x) =>
    builder.op("Cast", [builder.op("Cast", [x], { attributes })], { attributes: { to: ELEMENT_TYPES.float32 } }),
  );
}

describe.each(FORMATS)("%s", (format) => {
  test.each(PROVIDERS)("keeps the number that our code stands for, whatever the bfloat16, on %s", async (provider) => {
    const numbers = ALL_BFLOAT16.filter((value) => !Number.isNaN(value));
    const { largest } = FLOAT8_CODES[format];
    const table = decodeTable(format);
    const expected = numbers.map((value) => (table[encodeFloat8(format, value)] ?? Number.NaN) + 0);
    expect(await kept(provider, { elementType: format, largest }, numbers)).toEqual(expected);
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
  test.each(PROVIDERS)("is what the cache keeps on %s, around every power of two", async (provider) => {
    const numbers = numbersAround(first, last).filter(
      (value) => elementType !== "float16" || Math.abs(value) <= largest,
    );
    const expected = await castAndBack(elementType, numbers);
    const found = await kept(provider, { elementType, largest }, numbers);
    const wrong = [...numbers].filter((_, index) => found[index] !== expected[index]);
    expect(wrong).toEqual([]);
  });
});

test.each(PROVIDERS)("float32 keeps every bit on %s", async (provider) => {
  const numbers = numbersAround(-126, 90);
  expect(await kept(provider, { elementType: "float32", largest: 3.4e38 }, numbers)).toEqual(numbers);
});
