// The attention operator's own cache. No CPU has it in FP8: there its 8-bit integers stand in, which take the same inputs
// and attributes, against the formulas in float64; and the graph with FP8 is held against ONNX Runtime's rules for types.

import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { type ComputeType, FLOAT32_ARITHMETIC } from "../../src/graphs/arithmetic.js";
import type { CodedRounding } from "../../src/graphs/decode-step.js";
import { fusedAttention } from "../../src/graphs/fused-attention.js";
import { buildGenerationLoop, GENERATION_OPSET } from "../../src/graphs/generation-loop.js";
import { type BufferType, bufferTypeOf, holdBuffers, lostByOperator } from "../../src/graphs/operator-cache.js";
import { ELEMENT_TYPES, encodeModelProto, type Graph } from "../../src/onnx/model-proto.js";
import { weightLocations } from "../../src/pipeline/weight-locations.js";
import { PROVIDERS } from "../../src/runtime/providers.js";
import { openSession } from "../../src/runtime/session.js";
import { attendReference, pieces } from "./reference.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, tensor } from "./run-graph.js";

test.each<[kept: CodedRounding["elementType"], computed: ComputeType, buffers: BufferType | undefined]>([
  ["float8_e4m3fn", "bfloat16", "float8_e4m3fn"],
  ["float8_e4m3fn", "float16", "float8_e4m3fn"],
  ["bfloat16", "bfloat16", "bfloat16"],
  ["float16", "float16", "float16"],
  ["float8_e4m3fnuz", "bfloat16", undefined],
  ["float8_e5m2", "float16", undefined],
  ["bfloat16", "float16", undefined],
  ["float16", "bfloat16", undefined],
  ["float8_e4m3fn", "float32", "float32"],
  ["float8_e5m2", "float32", "float32"],
  ["bfloat16", "float32", "float32"],
])("what keeps %s, where %s is computed in, are buffers of %s", (elementType, computed, buffers) => {
  const arithmetic = { ...FLOAT32_ARITHMETIC, elementType: computed };
  expect(bufferTypeOf({ elementType, largest: 1 }, arithmetic)).toBe(buffers);
});

const [HEADS, KV_HEADS, HEAD_DIM, PAST, NEW, CAPACITY] = [4, 2, 16, 5, 3, 12];
const SCALES = { k: 0.03, v: 0.011 };
const INT8 = 3;

test("K and V are stored and read with a scale of their own, new tokens behind those that are there", async () => {
  /** Numbers that codes stand for: [tokens, kv_heads × head_dim] */
  const numbers = (seed: number, scale: number) =>
    randomTensor([PAST + NEW, KV_HEADS * HEAD_DIM], seed, 100).data.map((x) => Math.fround(Math.round(x) * scale));
  const [k, v] = [numbers(1, SCALES.k), numbers(2, SCALES.v)];
  const query = randomTensor([1, NEW, HEADS * HEAD_DIM], 3);
  const width = KV_HEADS * HEAD_DIM;
  /** Codes of the past: [1, kv_heads, capacity, head_dim] */
  const codes = (values: Float32Array, scale: number) =>
    tensor(
      [1, KV_HEADS, CAPACITY, HEAD_DIM],
      Array.from({ length: CAPACITY * width }, (_, index) => {
        const [head, token] = [Math.floor(index / (CAPACITY * HEAD_DIM)), Math.floor(index / HEAD_DIM) % CAPACITY];
        const value = values[token * width + head * HEAD_DIM + (index % HEAD_DIM)] ?? 0;
        return token < PAST ? Math.round(value / scale) : 0;
      }),
    );
  const ofNew = (values: Float32Array) => tensor([1, NEW, width], values.subarray(PAST * width));
  const found = await runBlocks(
    ({ builder, arithmetic }, input) => {
      const buffer = (name: string) => builder.op("Cast", [input(name)], { attributes: { to: INT8 } });
      const { attended, present } = fusedAttention(
        { builder, arithmetic },
        { heads: HEADS, kvHeads: KV_HEADS, headDim: HEAD_DIM },
        { lastPositions: input("last"), totalTokens: input("total") },
        {
          ...{ query: input("query"), key: input("key"), value: input("value") },
          buffers: { key: buffer("pastKey"), value: buffer("pastValue") },
          scales: { k: builder.float32s([SCALES.k]), v: builder.float32s([SCALES.v]) },
        },
      );
      builder.output(attended, "attended", "float32", [1, NEW, HEADS * HEAD_DIM]);
      for (const side of ["key", "value"] as const) {
        const wide = builder.op("Cast", [present[side]], { attributes: { to: ELEMENT_TYPES.float32 } });
        builder.output(wide, `present_${side}`, "float32", [1, KV_HEADS, CAPACITY, HEAD_DIM]);
      }
    },
    {
      ...{ query, key: ofNew(k), value: ofNew(v), pastKey: codes(k, SCALES.k), pastValue: codes(v, SCALES.v) },
      last: { type: "int32", data: Int32Array.of(PAST + NEW - 1), shape: [1] },
      total: { type: "int32", data: Int32Array.of(PAST + NEW), shape: [1] },
    },
  );
  const heads = (rows: readonly (readonly number[])[]) => rows.map((row) => pieces([...row], HEAD_DIM));
  const kvRows = (values: Float32Array) => heads(rowsOf({ shape: [PAST + NEW, width], data: values }));
  const unasked = Array.from({ length: PAST }, () => Array(HEADS * HEAD_DIM).fill(0) as number[]);
  const all = attendReference(heads([...unasked, ...rowsOf(query)]), kvRows(k), kvRows(v), {
    ...{ heads: HEADS, kvHeads: KV_HEADS, slidingWindow: undefined },
  });
  expect(largestDifference(found.attended, all.slice(PAST).flat())).toBeLessThan(1e-4);
  for (const [side, values, scale] of [
    ["key", k, SCALES.k],
    ["value", v, SCALES.v],
  ] as const) {
    const stored = found[`present_${side}`] ?? new Float32Array();
    const last = stored.subarray((PAST + NEW - 1) * HEAD_DIM, (PAST + NEW) * HEAD_DIM);
    const expected = [...values.subarray((PAST + NEW - 1) * width, (PAST + NEW - 1) * width + HEAD_DIM)];
    expect([...last]).toEqual(expected.map((x) => Math.round(x / scale)));
  }
});

describe("what an operator lost of its FP8 cache", () => {
  const SHAPE = [1, KV_HEADS, CAPACITY, HEAD_DIM];
  const held = randomTensor(SHAPE, 5, 4);
  const tokenOf = (index: number) => Math.floor(index / HEAD_DIM) % CAPACITY;
  /** The numbers behind the operator. @param change of those that are there */
  const behind = (change: (x: number, token: number) => number) =>
    tensor(
      SHAPE,
      held.data.map((x, index) => change(x, tokenOf(index))),
    );

  test.each<[string, (x: number, token: number) => number, (lost: number) => boolean]>([
    ["nothing, when all numbers are as they were", (x) => x, (lost) => lost === 0],
    ["nothing, when new tokens are stored", (x, token) => (token < PAST ? x : x + 3), (lost) => lost === 0],
    ["something, when a token is zeros", (x, token) => (token === PAST - 1 ? 0 : x), (lost) => lost > 1],
    ["something, when a number is another", (x, token) => (token === 0 ? x * 1.25 : x), (lost) => lost > 0],
    ["something not finite, when a number is none", (x, token) => (token === 2 ? Number.NaN : x), Number.isNaN],
  ])("is %s", async (_rule, change, isRight) => {
    const found = await runBlocks(
      ({ builder }, input) => {
        const buffers = (name: string) => {
          const fp8 = builder.op("Cast", [input(name)], { attributes: { to: ELEMENT_TYPES.float8_e4m3fn } });
          return holdBuffers(builder, "float8_e4m3fn", { key: fp8, value: fp8 });
        };
        const isBefore = builder.op("Cast", [input("isBefore")], { attributes: { to: ELEMENT_TYPES.float16 } });
        const lost = lostByOperator(builder, buffers("before"), buffers("behind"), isBefore);
        for (const [number, value] of lost.entries()) {
          const wide = builder.op("Cast", [value], { attributes: { to: ELEMENT_TYPES.float32 } });
          builder.output(wide, `lost_${number}`, "float32", []);
        }
      },
      {
        before: held,
        behind: behind(change),
        isBefore: tensor(
          [CAPACITY, 1],
          Array.from({ length: CAPACITY }, (_, token) => (token < PAST ? 1 : 0)),
        ),
      },
    );
    expect(Object.keys(found)).toEqual(["lost_0", "lost_1"]);
    for (const [lost = 0] of Object.values(found)) expect(isRight(lost), String(lost)).toBe(true);
  });
});

describe("the loop over the example, as CUDA computes it", async () => {
  const checkpoint = await openCheckpoint(fileURLToPath(new URL("../../examples/tiny-llama", import.meta.url)));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const end = describeModelEnd(checkpoint.tensors, decoder);
  const { folder, locate } = weightLocations(checkpoint);
  const arithmetic = PROVIDERS.cuda.arithmetic.BF16;
  const scales = (first: number) => decoder.layers.map((_, layer) => first * (layer + 1));
  const fp8: CodedRounding = {
    ...{ elementType: "float8_e4m3fn", largest: 448, scales: { k: scales(0.25), v: scales(0.125) } },
  };
  const bits16: CodedRounding = { elementType: "bfloat16", largest: (2 - 2 ** -7) * 2 ** 127 };
  const slices = [
    { start: 0, end: 1000 },
    { start: 1000, end: decoder.vocabularySize },
  ];
  const loopOf = (cache: CodedRounding) =>
    buildGenerationLoop({ decoder, end, locate, cache, endIds: [1], arithmetic, slices });
  const bodyOf = ({ nodes }: Graph): Graph => {
    const body = nodes.find(({ type }) => type === "Loop")?.attributes.body;
    return typeof body === "object" && "graph" in body ? body.graph : expect.fail("no loop");
  };

  test("keeps FP8 in its state, with the scales of each layer", () => {
    const { nodes, inputs, outputs, initializers } = bodyOf(loopOf(fp8));
    const state = [...inputs, ...outputs].filter(({ elementType }) => elementType === "float8_e4m3fn");
    expect(state).toHaveLength(2 * 2 * decoder.layers.length);
    const numberOf = (name: string | undefined) => {
      const data = initializers.find((initializer) => initializer.name === name)?.data;
      return data instanceof Uint8Array ? new Float32Array(data.slice().buffer)[0] : undefined;
    };
    const attentions = nodes.filter(({ type }) => type === "GroupQueryAttention");
    expect(attentions.map(({ inputs: given }) => [numberOf(given[12]), numberOf(given[13])])).toEqual(
      decoder.layers.map((_, layer) => [fp8.scales?.k[layer], fp8.scales?.v[layer]]),
    );
    for (const { inputs: given, attributes } of attentions) {
      expect(given.slice(7, 12)).toEqual(Array(5).fill(""));
      expect(attributes).toMatchObject({
        k_quant_type: "PER_TENSOR",
        v_quant_type: "PER_TENSOR",
        kv_cache_bit_width: 8,
      });
    }
  });

  test("gives the operator FP8 that is made for it alone, and makes again what leaves the loop", () => {
    const { nodes, inputs, outputs } = bodyOf(loopOf(fp8));
    const makerOf = (name: string | undefined) =>
      nodes.find((node) => name !== undefined && node.outputs.includes(name));
    const readersOf = (name: string) => nodes.filter((node) => node.inputs.includes(name)).map(({ type }) => type);
    const states = inputs.filter(({ elementType }) => elementType === "float8_e4m3fn").map(({ name }) => name);
    for (const state of states) expect(readersOf(state)).toEqual(["Cast"]);
    for (const { inputs: given, outputs: made } of nodes.filter(({ type }) => type === "GroupQueryAttention")) {
      for (const buffer of given.slice(3, 5)) {
        expect(makerOf(buffer)?.type).toBe("Cast");
        expect(readersOf(buffer)).toEqual(["GroupQueryAttention"]);
      }
      for (const buffer of made.slice(1)) {
        expect(readersOf(buffer)).toEqual(["Cast"]);
        expect(outputs.map(({ name }) => name)).not.toContain(buffer);
      }
    }
  });

  test("keeps 16 bits as they are", () => {
    const { nodes, inputs } = bodyOf(loopOf(bits16));
    expect(inputs.filter(({ elementType }) => elementType === "bfloat16")).toHaveLength(2 * decoder.layers.length);
    for (const { type, attributes } of nodes) {
      if (type === "GroupQueryAttention") expect(attributes).not.toHaveProperty("k_quant_type");
    }
  });

  test.each([
    ["FP8", fp8],
    ["16 bits", bits16],
  ])("with %s is a model to ONNX Runtime: nothing but the CPU's kernels is missing", async (_what, cache) => {
    const model = encodeModelProto(loopOf(cache), GENERATION_OPSET);
    const opened = openSession({ model, externalDataFolder: folder, provider: "cpu", purpose: "a test" });
    await expect(opened).rejects.toThrow(/Could not find an implementation for/);
  });
});
