// A stored cache gives back, bit for bit, what the graph kept; and a model that reads token by token through it gives the
// hidden states of one that reads all at once, whatever the heads.

import { describe, expect, test } from "vitest";
import { factsOf } from "../../src/architectures/block-facts.js";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { blocksOf, type Decoder, type DecoderLayer } from "../../src/architectures/description.js";
import { preNorm } from "../../src/architectures/parts.js";
import { ropeTables } from "../../src/architectures/rope.js";
import { storedTensors, tensorSource } from "../../src/architectures/weight-source.js";
import { buildDecodeStep, type CodedRounding, DECODE_VALUES } from "../../src/graphs/decode-step.js";
import { keptByCache } from "../../src/graphs/kv-cache.js";
import { SEGMENT_VALUES } from "../../src/graphs/segment.js";
import { type CodedType, codeTable, codeTypeOf, isFloat8 } from "../../src/numerics/cache-codes.js";
import { FLOAT8_CODES } from "../../src/numerics/float8.js";
import { encodeModelProto } from "../../src/onnx/model-proto.js";
import { StoredCache } from "../../src/pipeline/stored-cache.js";
import { openSession } from "../../src/runtime/session.js";
import { largestDifference, randomTensor, runBlocks, storeWeights, type Tensor, tensor } from "../graphs/run-graph.js";

const TYPES: readonly CodedType[] = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "bfloat16", "float16"];
const LARGEST = { bfloat16: (2 - 2 ** -7) * 2 ** 127, float16: 65504 } as const;

function cacheOf(elementType: CodedType, scale?: number): CodedRounding {
  const largest = isFloat8(elementType) ? FLOAT8_CODES[elementType].largest : LARGEST[elementType];
  return { elementType, largest, ...(scale !== undefined && { scales: { k: [scale], v: [scale] } }) };
}

interface Shape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly slidingWindow?: number;
}

const HIDDEN = 24;

function layerOf({ heads, kvHeads, headDim, slidingWindow }: Shape): DecoderLayer {
  const linear = (name: string, inputs: number, outputs: number) => ({
    weight: tensorSource(name, [outputs, inputs]),
    inputs,
    outputs,
  });
  const norm = (name: string, size: number) =>
    ({ kind: "rms", weight: tensorSource(name, [size]), size, epsilon: 1e-5 }) as const;
  const attention = {
    kind: "attention",
    rope: { rope: 0, dimensions: headDim, pairing: "halves" },
    name: "self_attn",
    ...{ heads, kvHeads, headDim },
    query: linear("query", HIDDEN, heads * headDim),
    key: linear("key", HIDDEN, kvHeads * headDim),
    value: linear("value", HIDDEN, kvHeads * headDim),
    output: linear("output", heads * headDim, HIDDEN),
    ...(slidingWindow !== undefined && { slidingWindow }),
  } as const;
  const feedForward = {
    kind: "feed-forward",
    activation: "silu",
    gate: linear("gate", HIDDEN, 2 * HIDDEN),
    up: linear("up", HIDDEN, 2 * HIDDEN),
    down: linear("down", 2 * HIDDEN, HIDDEN),
  } as const;
  const residuals = [
    preNorm(norm("input_norm", HIDDEN), attention),
    preNorm(norm("feed_forward_norm", HIDDEN), feedForward),
  ];
  return { index: 0, residuals };
}

function weightsOf(layer: DecoderLayer) {
  const weights: Record<string, Tensor> = {
    input_norm: tensor([HIDDEN], Array(HIDDEN).fill(1)),
    feed_forward_norm: tensor([HIDDEN], Array(HIDDEN).fill(1)),
  };
  const linears = blocksOf(layer).flatMap((block) => factsOf(block).linears);
  for (const [seed, { weight, inputs, outputs }] of linears.entries()) {
    weights[storedTensors(weight)[0]?.name ?? ""] = randomTensor([outputs, inputs], seed + 1, 0.4);
  }
  return weights;
}

describe.each(TYPES)("a cache of %s", (elementType) => {
  const numbers = randomTensor([1, 200, 8], 3, 2).data.map((value, index) => value * 2 ** ((index % 40) - 24));

  test.each([undefined, 0.0173, 3.5e-4, 1.9])(
    "holds codes of what the graph kept, bit for bit: scale %s",
    async (scale) => {
      const cache = cacheOf(elementType, scale);
      const { kept = new Float32Array() } = await runBlocks(
        ({ builder }, input) => {
          const place = { layer: 0, side: "k" } as const;
          const value = keptByCache(builder, [cache], place, input("choice"), input("x"));
          builder.output(value, "kept", "float32", [1, 200, 8]);
        },
        { x: tensor([1, 200, 8], numbers), choice: { type: "int32", shape: [1], data: Int32Array.of(0) } },
      );
      const stored = new StoredCache(
        [cache],
        0,
        cacheSites({ layers: [layerOf({ heads: 2, kvHeads: 1, headDim: 8 })] }),
        200,
      );
      stored.store([0], { [DECODE_VALUES.kept("k", 0)]: kept, [DECODE_VALUES.kept("v", 0)]: kept });
      stored.advance(200);
      const past = stored.inputs([0])[DECODE_VALUES.past(0, "v", 0)];
      const bytesPerElement = codeTypeOf(elementType) === "uint8" ? 1 : 2;
      expect(past).toMatchObject({ type: codeTypeOf(elementType), shape: [1, 200, 8] });
      expect(past?.data.byteLength).toBe(kept.length * bytesPerElement);
      expect(stored.bytesByLayer()).toEqual([2 * kept.length * bytesPerElement]);
      const table = codeTable(elementType);
      const factor = scale === undefined ? 1 : Math.fround(scale);
      const codes = Array.from((past?.data ?? []) as ArrayLike<number>);
      const decoded = Float32Array.from(codes, (code) => (table[code] ?? Number.NaN) * factor);
      expect(decoded).toEqual(kept);
      expect(new Set(kept).size).toBeGreaterThan(50);
    },
  );
});

const SHAPES: readonly (readonly [string, Shape])[] = [
  ["as many heads of K and V as of queries", { heads: 2, kvHeads: 2, headDim: 8 }],
  ["grouped heads", { heads: 6, kvHeads: 2, headDim: 16 }],
  ["one head of K and V", { heads: 4, kvHeads: 1, headDim: 16 }],
  ["heads that are no multiple of 8", { heads: 4, kvHeads: 2, headDim: 6 }],
  ["a sliding window", { heads: 4, kvHeads: 2, headDim: 8, slidingWindow: 5 }],
  ["a sliding window over heads of 12", { heads: 2, kvHeads: 1, headDim: 12, slidingWindow: 3 }],
];
const TOKENS = 17;

describe.each(SHAPES)("with %s", (_name, shape) => {
  test.each([
    ["token by token", Array(TOKENS).fill(1) as number[]],
    ["in pieces", [4, 1, 7, 5]],
  ])("tokens read %s give the hidden states of all read at once", async (_how, pieces) => {
    const layer = layerOf(shape);
    const { folder, locate } = await storeWeights(weightsOf(layer));
    const rope = { theta: 100, dimensions: shape.headDim, scaling: { type: "default" } } as const;
    const decoder: Decoder = {
      ...{
        modelType: "llama",
        hiddenSize: HIDDEN,
        vocabularySize: 1,
        embedding: { weight: "none" },
        ropes: [rope],
        layers: [layer],
      },
      end: { norm: { kind: "rms", size: HIDDEN, epsilon: 1e-5 }, head: tensorSource("none", [1, HIDDEN]) },
    };
    const caches = [cacheOf("bfloat16"), cacheOf("float8_e4m3fn", 0.01)];
    const model = encodeModelProto(buildDecodeStep(decoder, [{ kind: "layer", layer }], locate, caches));
    const session = await openSession({ model, externalDataFolder: folder, provider: "cpu", purpose: "a test" });
    const { cos, sin } = ropeTables(rope, TOKENS);
    const hidden = randomTensor([1, TOKENS, HIDDEN], 99).data;
    const read = async (chosen: number, lengths: readonly number[]) => {
      const cache = new StoredCache(caches, chosen, cacheSites(decoder), TOKENS);
      const states: number[] = [];
      for (const count of lengths) {
        const first = cache.tokens;
        const rows = (values: Float32Array, width: number) => values.subarray(first * width, (first + count) * width);
        const pairs = shape.headDim / 2;
        const outputs = await session.run({
          [SEGMENT_VALUES.hidden]: { type: "float32", data: rows(hidden, HIDDEN), shape: [1, count, HIDDEN] },
          [SEGMENT_VALUES.cos]: { type: "float32", data: rows(cos, pairs), shape: [count, pairs] },
          [SEGMENT_VALUES.sin]: { type: "float32", data: rows(sin, pairs), shape: [count, pairs] },
          [SEGMENT_VALUES.lastPositions]: { type: "int32", data: Int32Array.of(first + count - 1), shape: [1] },
          [SEGMENT_VALUES.totalTokens]: { type: "int32", data: Int32Array.of(first + count), shape: [1] },
          ...cache.inputs([0]),
        });
        cache.store([0], outputs);
        cache.advance(count);
        states.push(...(outputs[SEGMENT_VALUES.nextHidden] ?? []));
      }
      return states;
    };
    try {
      const [bits16, fp8] = [await read(0, [TOKENS]), await read(1, [TOKENS])];
      expect(largestDifference(await read(0, pieces), bits16)).toBeLessThan(1e-5);
      expect(largestDifference(await read(1, pieces), fp8)).toBeLessThan(1e-5);
      expect(largestDifference(fp8, bits16)).toBeGreaterThan(1e-3);
    } finally {
      await session.release();
    }
  });
});

test("a cache that is full says so instead of forgetting", () => {
  const cache = new StoredCache(
    [cacheOf("bfloat16")],
    0,
    cacheSites({ layers: [layerOf({ heads: 1, kvHeads: 1, headDim: 8 })] }),
    1,
  );
  const two = {
    [DECODE_VALUES.kept("k", 0)]: new Float32Array(16),
    [DECODE_VALUES.kept("v", 0)]: new Float32Array(16),
  };
  expect(() => cache.store([0], two)).toThrow(RangeError);
});
