// Every switch of attention beside those of Llama, alone and all together, against the formulas in float64.

import { describe, expect, test } from "vitest";
import type { Attention, Linear, Norm } from "../../src/architectures/blocks.js";
import { type Rope, ropeTables } from "../../src/architectures/rope.js";
import { tensorSource } from "../../src/architectures/weight-source.js";
import { attention } from "../../src/graphs/attention.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, type Tensors, tensor } from "./run-graph.js";

const [TOKENS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, EPSILON] = [7, 12, 4, 2, 16, 1e-3];
const ROPE: Rope = { theta: 100, dimensions: 8, scaling: { type: "default" } };
/** All of a head turns, and what is turned grows with the position. */
const GROWN_ROPE: Rope = { ...ROPE, dimensions: HEAD_DIM, growth: { beta: 0.5, every: 2 } };
const X = randomTensor([1, TOKENS, HIDDEN], 1);

const linear = (name: string, outputs: number, inputs = HIDDEN): Linear => ({
  weight: tensorSource(name, [outputs, inputs]),
  inputs,
  outputs,
});
const normOf = (name: string, size: number): Norm => ({
  ...{ kind: "rms", size, epsilon: EPSILON },
  weight: tensorSource(name, [size]),
});
const [headNorm, wideNorm] = [normOf("head_norm", HEAD_DIM), normOf("wide_norm", HEADS * HEAD_DIM)];
const PLAIN: Attention = {
  ...{ kind: "attention", name: "self_attn", heads: HEADS, kvHeads: KV_HEADS, headDim: HEAD_DIM },
  query: linear("q", HEADS * HEAD_DIM),
  key: linear("k", KV_HEADS * HEAD_DIM),
  value: linear("v", KV_HEADS * HEAD_DIM),
  output: linear("o", HIDDEN, HEADS * HEAD_DIM),
};
const NARROW: Partial<Attention> = {
  valueDim: 6,
  value: linear("narrow_v", KV_HEADS * 6),
  output: linear("narrow_o", HIDDEN, HEADS * 6),
};
const WEIGHTS: Tensors = {
  q: randomTensor([HEADS * HEAD_DIM, HIDDEN], 2),
  k: randomTensor([KV_HEADS * HEAD_DIM, HIDDEN], 3),
  v: randomTensor([KV_HEADS * HEAD_DIM, HIDDEN], 4),
  o: randomTensor([HIDDEN, HEADS * HEAD_DIM], 5),
  narrow_v: randomTensor([KV_HEADS * 6, HIDDEN], 6),
  narrow_o: randomTensor([HIDDEN, HEADS * 6], 7),
  gate: randomTensor([HEADS * HEAD_DIM, HIDDEN], 8),
  head_gate: randomTensor([HEADS, HIDDEN], 9),
  head_norm: randomTensor([HEAD_DIM], 10, 2),
  wide_norm: randomTensor([HEADS * HEAD_DIM], 11, 2),
  sinks: randomTensor([HEADS], 12, 3),
};
const sinks = tensorSource("sinks", [HEADS]);
const rotated = (pairing: "halves" | "neighbours") => ({ rope: 0, dimensions: ROPE.dimensions, pairing }) as const;

const CASES: readonly (readonly [string, Partial<Attention>])[] = [
  ["no rotation", {}],
  ["half of each head rotated", { rope: rotated("halves") }],
  [
    "queries that turn otherwise than keys, and grow with their position",
    { rope: rotated("halves"), queryRope: { rope: 1, dimensions: HEAD_DIM, pairing: "halves" } },
  ],
  ["neighbours rotated", { rope: rotated("neighbours") }],
  ["another scale", { scale: 0.7 }],
  ["a soft cap", { softcap: 1.5, scale: 0.7 }],
  ["sinks", { sinks }],
  ["sinks and a window", { sinks, slidingWindow: 3 }],
  ["chunks of positions", { chunkSize: 3, rope: rotated("halves") }],
  ["chunks of positions, sinks, a soft cap, V narrower than K", { ...NARROW, chunkSize: 2, sinks, softcap: 2 }],
  ["a chunk longer than the prompt, and a window", { chunkSize: 9, slidingWindow: 3 }],
  ["V narrower than K", NARROW],
  ["V narrower than K, sinks, a soft cap", { ...NARROW, sinks, softcap: 2 }],
  ["a norm over all of q", { queryNorm: { norm: wideNorm, over: "projection", when: "before-rotation" } }],
  [
    "norms behind the rotation",
    {
      rope: rotated("halves"),
      queryNorm: { norm: headNorm, over: "head", when: "after-rotation" },
      keyNorm: { norm: headNorm, over: "head", when: "after-rotation" },
    },
  ],
  ["a norm of V without weight", { valueNorm: { kind: "rms", size: HEAD_DIM, epsilon: EPSILON } }],
  ["clipped projections", { clip: 0.8 }],
  [
    "clipped behind norms",
    { clip: 0.8, queryNorm: { norm: wideNorm, over: "projection", when: "before-rotation" }, keyMultiplier: 3 },
  ],
  ["multipliers of K and V", { keyMultiplier: 0.3, valueMultiplier: 1.7 }],
  ["a gate per element", { gate: { projection: linear("gate", HEADS * HEAD_DIM), activation: "sigmoid" } }],
  ["a gate per head", { gate: { projection: linear("head_gate", HEADS), activation: "softplus" } }],
];

const numbers = (name: string) => [...(WEIGHTS[name]?.data ?? [])];
const nameOf = (of: Linear) => (of.weight.kind === "tensor" ? of.weight.name : "");
const project = (of: Linear, x: readonly number[]) =>
  rowsOf(WEIGHTS[nameOf(of)] ?? X).map((row) => row.reduce((sum, w, at) => sum + w * (x[at] ?? 0), 0));
const cut = (x: readonly number[], count: number) => {
  const width = x.length / count;
  return Array.from({ length: count }, (_, at) => x.slice(at * width, (at + 1) * width));
};

function normed(norm: Norm, x: readonly number[]): number[] {
  const root = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + norm.epsilon);
  const weight = norm.weight?.kind === "tensor" ? numbers(norm.weight.name) : [];
  return x.map((value, at) => (value / root) * (weight[at] ?? 1));
}

function turned(rope: Attention["rope"], head: readonly number[], position: number): number[] {
  if (rope === undefined) return [...head];
  const growth = rope.rope === 1 ? 1 + 0.5 * Math.log(1 + Math.floor(position / 2)) : 1;
  const result = [...head];
  for (let pair = 0; pair < rope.dimensions / 2; pair++) {
    const [a, b] = rope.pairing === "halves" ? [pair, pair + rope.dimensions / 2] : [2 * pair, 2 * pair + 1];
    const angle = position * ROPE.theta ** ((-2 * pair) / rope.dimensions);
    const [x, y] = [head[a] ?? 0, head[b] ?? 0];
    result[a] = growth * (x * Math.cos(angle) - y * Math.sin(angle));
    result[b] = growth * (y * Math.cos(angle) + x * Math.sin(angle));
  }
  return result;
}

/** K and V as they enter the cache, and the output. */
function reference(given: Attention) {
  const { heads, kvHeads, headDim, clip = Number.POSITIVE_INFINITY, rope } = given;
  const clipped = (x: readonly number[]) => x.map((y) => Math.max(-clip, Math.min(clip, y)));
  const side = (of: Linear, count: number, norm: Attention["keyNorm"], turn: Attention["rope"], factor = 1) =>
    rowsOf(X).map((x, position) => {
      const whole = project(of, x).map((value) => value * factor);
      const isWide = norm?.over === "projection" && norm.when === "before-rotation";
      return cut(isWide ? normed(norm.norm, whole) : whole, count).map((head) => {
        const before = norm?.over === "head" && norm.when === "before-rotation" ? normed(norm.norm, head) : head;
        const after = turned(turn, clipped(before), position);
        return norm?.when === "after-rotation" ? normed(norm.norm, after) : after;
      });
    });
  const q = side(given.query, heads, given.queryNorm, given.queryRope ?? rope);
  const k = side(given.key, kvHeads, given.keyNorm, rope, given.keyMultiplier);
  const v = rowsOf(X).map((x) =>
    cut(
      project(given.value, x).map((value) => value * (given.valueMultiplier ?? 1)),
      kvHeads,
    ).map((head) => clipped(given.valueNorm ? normed(given.valueNorm, head) : head)),
  );
  const output = q.map((queries, token) => {
    const attended = queries.map((query, head) => {
      const chunk = given.chunkSize === undefined ? 0 : token - (token % given.chunkSize);
      const first = Math.max(chunk, token + 1 - (given.slidingWindow ?? TOKENS));
      const kvHead = Math.floor(head / (heads / kvHeads));
      const scores = k.slice(first, token + 1).map((keys) => {
        const dot = (keys[kvHead] ?? []).reduce((sum, value, at) => sum + value * (query[at] ?? 0), 0);
        const score = dot * (given.scale ?? 1 / Math.sqrt(headDim));
        return given.softcap === undefined ? score : given.softcap * Math.tanh(score / given.softcap);
      });
      const sink = given.sinks ? Math.exp(numbers("sinks")[head] ?? 0) : 0;
      const total = scores.reduce((sum, score) => sum + Math.exp(score), sink);
      const width = v[0]?.[0]?.length ?? 0;
      return Array.from({ length: width }, (_, at) =>
        scores.reduce(
          (sum, score, past) => sum + (Math.exp(score) / total) * (v[first + past]?.[kvHead]?.[at] ?? 0),
          0,
        ),
      );
    });
    const { gate } = given;
    const open = gate && project(gate.projection, rowsOf(X)[token] ?? []);
    const activate = (x: number) => (gate?.activation === "sigmoid" ? 1 / (1 + Math.exp(-x)) : Math.log1p(Math.exp(x)));
    const gated = attended.map((head, number) =>
      head.map((value, at) => {
        if (open === undefined) return value;
        return value * activate(open[open.length === heads ? number : number * head.length + at] ?? Number.NaN);
      }),
    );
    return project(given.output, gated.flat());
  });
  const absmax = (heads_: readonly (readonly (readonly number[])[])[]) =>
    Array.from({ length: kvHeads }, (_, head) =>
      Math.max(...heads_.flatMap((token) => (token[head] ?? []).map(Math.abs))),
    );
  return { k: absmax(k), v: absmax(v), output: output.flat() };
}

describe.each(CASES)("attention with %s", (_name, changes) => {
  const given: Attention = { ...PLAIN, ...changes };
  const expected = reference(given);

  test("differs from plain attention by more than the tolerance", () => {
    if (Object.keys(changes).length === 0) return;
    const plain = reference(PLAIN);
    const isOther = (["k", "v", "output"] as const).some(
      (part) => !(largestDifference(plain[part], expected[part]) < 1e-3),
    );
    expect(isOther).toBe(true);
  });

  test.each(["fused", "in-chunks", "written-out"] as const)("is the formula, %s", async (form) => {
    const tables = ropeTables(ROPE, TOKENS);
    const grown = ropeTables(GROWN_ROPE, TOKENS);
    const shapeOf = ({ dimensions }: Rope) => [TOKENS, dimensions / 2];
    const found = await runBlocks(
      (context, input) => {
        const inputs = {
          mask: input("mask"),
          lastPositions: input("lastPositions"),
          totalTokens: input("totalTokens"),
          rotations: [
            { cos: input("cos"), sin: input("sin") },
            { cos: input("cos_1"), sin: input("sin_1") },
          ],
        };
        const { output, ranges } = attention(context, given, inputs, input("x"));
        context.builder.output(output, "output", "float32", ["batch", "tokens", HIDDEN]);
        context.builder.output(ranges.k.absmax, "absmax_k", "float32", ["batch", KV_HEADS]);
        context.builder.output(ranges.v.absmax, "absmax_v", "float32", ["batch", KV_HEADS]);
      },
      {
        x: X,
        mask: tensor([1, TOKENS, 1], Array(TOKENS).fill(1)),
        lastPositions: { type: "int32", data: Int32Array.of(TOKENS - 1), shape: [1] },
        totalTokens: { type: "int32", data: Int32Array.of(TOKENS), shape: [1] },
        cos: tensor(shapeOf(ROPE), tables.cos),
        sin: tensor(shapeOf(ROPE), tables.sin),
        cos_1: tensor(shapeOf(GROWN_ROPE), grown.cos),
        sin_1: tensor(shapeOf(GROWN_ROPE), grown.sin),
      },
      WEIGHTS,
      { attention: form },
    );
    expect(largestDifference(found.absmax_k, expected.k), "K").toBeLessThan(3e-5);
    expect(largestDifference(found.absmax_v, expected.v), "V").toBeLessThan(3e-5);
    expect(largestDifference(found.output, expected.output), "output").toBeLessThan(3e-5);
  });
});
