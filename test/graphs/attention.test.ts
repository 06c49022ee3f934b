// Attention with K and V measured on the way, run in ONNX Runtime, as one operator and written out, against the formulas in
// float64, prompt by prompt: the reference knows no padding.

import { describe, expect, test } from "vitest";
import type { Attention, HeadNorm } from "../../src/architectures/blocks.js";
import { ropeTables } from "../../src/architectures/rope.js";
import { tensorSource } from "../../src/architectures/weight-source.js";
import { attention, type BatchInputs, keyValueRanges } from "../../src/graphs/attention.js";
import type { GraphContext } from "../../src/graphs/blocks.js";
import type { Value } from "../../src/onnx/graph-builder.js";
import { batchMask } from "../../src/prompts/batches.js";
import { attendReference, linearReference, pieces, rmsNormReference, rotateReference } from "./reference.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, type Tensors, tensor } from "./run-graph.js";

const HIDDEN = 20;
const THETA = 100;
const EPSILON = 1e-5;
const LENGTHS = [9, 1, 6];
const WIDTH = 9;

interface Case {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly slidingWindow?: number;
  readonly norm?: boolean;
  readonly bias?: boolean;
}

const CASES: readonly [string, Case][] = [
  ["as many KV heads as heads", { heads: 4, kvHeads: 4, headDim: 16 }],
  ["grouped heads", { heads: 6, kvHeads: 2, headDim: 16 }],
  ["one KV head", { heads: 4, kvHeads: 1, headDim: 16 }],
  ["more heads than are written out at a time", { heads: 18, kvHeads: 6, headDim: 8 }],
  ["more heads than that in one group", { heads: 20, kvHeads: 2, headDim: 8, slidingWindow: 5 }],
  ["head_dim 8", { heads: 4, kvHeads: 2, headDim: 8 }],
  ["head_dim 10, no multiple of 4", { heads: 2, kvHeads: 1, headDim: 10 }],
  ["head_dim 36, no multiple of 16", { heads: 2, kvHeads: 2, headDim: 36 }],
  ["head_dim 2", { heads: 2, kvHeads: 1, headDim: 2 }],
  ["a window of 4 tokens", { heads: 4, kvHeads: 2, headDim: 8, slidingWindow: 4 }],
  ["a window of 1 token", { heads: 4, kvHeads: 2, headDim: 8, slidingWindow: 1 }],
  ["a window as long as the prompt", { heads: 4, kvHeads: 2, headDim: 8, slidingWindow: 9 }],
  ["norms of q and k", { heads: 4, kvHeads: 2, headDim: 8, norm: true }],
  ["biases", { heads: 4, kvHeads: 2, headDim: 8, bias: true }],
  ["all of it", { heads: 6, kvHeads: 3, headDim: 12, slidingWindow: 3, norm: true, bias: true }],
];

function describeCase({ heads, kvHeads, headDim, slidingWindow, norm, bias }: Case): Attention {
  const linear = (weight: string, inputs: number, outputs: number) => ({
    weight: tensorSource(weight, [outputs, inputs]),
    inputs,
    outputs,
    ...(bias && { bias: tensorSource(`${weight}.bias`, [outputs]) }),
  });
  const normed = (weight: string): HeadNorm => ({
    norm: { kind: "rms", weight: tensorSource(weight, [headDim]), size: headDim, epsilon: EPSILON },
    over: "head",
    when: "before-rotation",
  });
  return {
    kind: "attention",
    rope: { rope: 0, dimensions: headDim, pairing: "halves" },
    name: "self_attn",
    heads,
    kvHeads,
    headDim,
    query: linear("q", HIDDEN, heads * headDim),
    key: linear("k", HIDDEN, kvHeads * headDim),
    value: linear("v", HIDDEN, kvHeads * headDim),
    output: linear("o", heads * headDim, HIDDEN),
    ...(norm && { queryNorm: normed("q_norm"), keyNorm: normed("k_norm") }),
    ...(slidingWindow !== undefined && { slidingWindow }),
  };
}

function weightsOf({ heads, kvHeads, headDim }: Case): Tensors {
  const [q, kv] = [heads * headDim, kvHeads * headDim];
  return {
    q: randomTensor([q, HIDDEN], 11),
    k: randomTensor([kv, HIDDEN], 12),
    v: randomTensor([kv, HIDDEN], 13),
    o: randomTensor([HIDDEN, q], 14),
    "q.bias": randomTensor([q], 15),
    "k.bias": randomTensor([kv], 16, 3),
    "v.bias": randomTensor([kv], 17, 3),
    "o.bias": randomTensor([HIDDEN], 18),
    q_norm: randomTensor([headDim], 19, 2),
    k_norm: randomTensor([headDim], 20, 2),
  };
}

/** Hidden states whose padding is far larger than the tokens: measured or attended to, it would show. */
function hiddenStates() {
  const tokens = randomTensor([LENGTHS.length, WIDTH, HIDDEN], 21);
  const mask = batchMask({ prompts: [0, 1, 2], lengths: LENGTHS, width: WIDTH });
  return { ...tokens, data: tokens.data.map((value, i) => (mask[Math.floor(i / HIDDEN)] === 1 ? value : value * 50)) };
}

interface ExpectedPrompt {
  readonly output: number[][]; // [tokens][hidden]
  readonly k: number[]; // [kv_heads]
  readonly v: number[]; // [kv_heads]
}

/** One prompt alone, in float64. @param x [tokens][hidden] */
function expectedOf(x: readonly number[][], given: Case, weights: Tensors): ExpectedPrompt {
  const { heads, kvHeads, headDim } = given;
  const rows = (name: string) => (weights[name] ? rowsOf(weights[name]) : []);
  const vector = (name: string) => [...(weights[name]?.data ?? [])];
  const project = (name: string, row: readonly number[]) =>
    linearReference(row, rows(name), given.bias ? vector(`${name}.bias`) : undefined);
  const heard = (name: string, row: readonly number[]) => pieces(project(name, row), headDim);
  const normed = (name: string, head: number[]) =>
    given.norm ? rmsNormReference(head, vector(`${name}_norm`), EPSILON) : head;
  const turned = (name: string) =>
    x.map((row, position) => heard(name, row).map((head) => rotateReference(normed(name, head), position, THETA)));
  const [q, k, v] = [turned("q"), turned("k"), x.map((row) => heard("v", row))];
  const absmax = (side: number[][][]) =>
    Array.from({ length: kvHeads }, (_, head) =>
      Math.max(...side.flatMap((token) => (token[head] ?? []).map(Math.abs))),
    );
  const attended = attendReference(q, k, v, { heads, kvHeads, slidingWindow: given.slidingWindow });
  return { output: attended.map((row) => project("o", row)), k: absmax(k), v: absmax(v) };
}

function batchInputs({ headDim }: Case) {
  const tables = ropeTables({ theta: THETA, dimensions: headDim, scaling: { type: "default" } }, WIDTH);
  const shape = [WIDTH, headDim / 2];
  return {
    x: hiddenStates(),
    mask: tensor([LENGTHS.length, WIDTH, 1], batchMask({ prompts: [0, 1, 2], lengths: LENGTHS, width: WIDTH })),
    lastPositions: { type: "int32", data: Int32Array.from(LENGTHS, (length) => length - 1), shape: [3] },
    totalTokens: { type: "int32", data: Int32Array.of(WIDTH), shape: [1] },
    cos: tensor(shape, tables.cos),
    sin: tensor(shape, tables.sin),
  } as const;
}

function inputValues(input: (name: string) => Value): BatchInputs {
  return {
    mask: input("mask"),
    lastPositions: input("lastPositions"),
    totalTokens: input("totalTokens"),
    rotations: [{ cos: input("cos"), sin: input("sin") }],
  };
}

describe.each(CASES)("with %s", (_rule, given) => {
  const description = describeCase(given);
  const weights = weightsOf(given);
  const x = rowsOf(hiddenStates());
  const expected = LENGTHS.map((length, prompt) =>
    expectedOf(x.slice(prompt * WIDTH, prompt * WIDTH + length), given, weights),
  );
  const outputRange = ({ builder }: GraphContext, name: string, range: { absmax: Value; sumOfSquares: Value }) => {
    builder.output(range.absmax, `absmax_${name}`, "float32", ["batch", given.kvHeads]);
    builder.output(range.sumOfSquares, `sum_${name}`, "float32", ["batch"]);
  };

  const expectRanges = (found: Readonly<Record<string, Float32Array>>) => {
    for (const side of ["k", "v"] as const) {
      const absmax = expected.flatMap((prompt) => prompt[side]);
      expect(largestDifference(found[`absmax_${side}`], absmax), side).toBeLessThan(1e-5);
    }
  };

  test.each(["fused", "in-chunks", "written-out"] as const)(
    "each prompt's output is that of the prompt alone, and its range that of its tokens: %s",
    async (form) => {
      const found = await runBlocks(
        (context, input) => {
          const { output, ranges } = attention(context, description, inputValues(input), input("x"));
          context.builder.output(output, "output", "float32", ["batch", "tokens", HIDDEN]);
          outputRange(context, "k", ranges.k);
          outputRange(context, "v", ranges.v);
        },
        batchInputs(given),
        weights,
        { attention: form },
      );
      const outputs = pieces([...(found.output ?? [])], HIDDEN);
      for (const [prompt, length] of LENGTHS.entries()) {
        const rows = outputs.slice(prompt * WIDTH, prompt * WIDTH + length).flat();
        expect(largestDifference(rows, expected[prompt]?.output.flat() ?? []), `prompt ${prompt}`).toBeLessThan(5e-5);
      }
      expectRanges(found);
      expect(found.sum_k?.every(Number.isFinite) && found.sum_v?.every(Number.isFinite)).toBe(true);
    },
  );

  test("of the last layer only K and V are computed, and they are the same", async () => {
    const { q: _q, o: _o, ...ofKeysAndValues } = weights;
    const found = await runBlocks(
      (context, input) => {
        const ranges = keyValueRanges(context, description, inputValues(input), input("x"));
        outputRange(context, "k", ranges.k);
        outputRange(context, "v", ranges.v);
      },
      batchInputs(given),
      ofKeysAndValues,
    );
    expectRanges(found);
  });
});
