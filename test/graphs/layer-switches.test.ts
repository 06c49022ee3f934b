// What layers have beside attention and plain feed-forwards, alone and against the formulas in float64: gates that keep their
// largest outputs, residuals of low rank, embeddings per layer, a norm and a factor behind a residual.

import { describe, expect, test } from "vitest";
import type { Block, Linear, Norm } from "../../src/architectures/blocks.js";
import type { Residual } from "../../src/architectures/description.js";
import { tensorSource } from "../../src/architectures/weight-source.js";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import { type BlockRecorder, recordResiduals, sumOfStream } from "../../src/graphs/decoder-layer.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, type Tensors, tensor } from "./run-graph.js";

const [TOKENS, HIDDEN, INNER, EPSILON] = [5, 12, 9, 1e-3];
const X = randomTensor([1, TOKENS, HIDDEN], 1);
const EMBEDDED = randomTensor([1, TOKENS, INNER], 2, 2);
const WEIGHTS: Tensors = {
  gate: randomTensor([INNER, HIDDEN], 3),
  up: randomTensor([INNER, HIDDEN], 4),
  down: randomTensor([HIDDEN, INNER], 5),
  norm: randomTensor([HIDDEN], 6, 2),
  factor: tensor([1], [0.37]),
};
const linear = (name: string, inputs: number, outputs: number): Linear => {
  return { weight: tensorSource(name, [outputs, inputs]), inputs, outputs };
};
const [gate, up, down] = [linear("gate", HIDDEN, INNER), linear("up", HIDDEN, INNER), linear("down", INNER, HIDDEN)];
const NORM: Norm = { kind: "rms", weight: tensorSource("norm", [HIDDEN]), size: HIDDEN, epsilon: EPSILON };

const project = (name: string, x: readonly number[]) =>
  rowsOf(WEIGHTS[name] ?? X).map((row) => row.reduce((sum, w, at) => sum + w * (x[at] ?? 0), 0));
const silu = (x: number) => x / (1 + Math.exp(-x));
const mean = (x: readonly number[]) => x.reduce((sum, value) => sum + value, 0) / x.length;

function normed(x: readonly number[]): number[] {
  const root = Math.sqrt(mean(x.map((value) => value * value)) + EPSILON);
  return x.map((value, at) => (value / root) * (WEIGHTS.norm?.data[at] ?? 1));
}

function cutGate(x: readonly number[], deviations: number): number[] {
  const deviation = Math.sqrt(mean(x.map((value) => (value - mean(x)) ** 2)));
  return x.map((value) => Math.max(0, value - mean(x) - deviations * deviation));
}

/** x + block(x), by the formula. */
const BLOCKS: readonly (readonly [string, Block, (x: readonly number[], token: number) => number[]])[] = [
  [
    "a gate that keeps its largest outputs",
    { kind: "feed-forward", activation: "silu", gateCutoff: 0.4, gate, up, down },
    (x) => {
      const passed = project("up", x);
      const open = cutGate(project("gate", x), 0.4);
      return project(
        "down",
        open.map((value, at) => silu(value) * (passed[at] ?? 0)),
      );
    },
  ],
  [
    "a residual of low rank",
    { kind: "low-rank", left: up, right: down, norm: NORM },
    (x) => normed(project("down", project("up", x))).map((value, at) => value + (x[at] ?? 0)),
  ],
  [
    "embeddings per layer",
    { kind: "per-layer-input", layer: 3, activation: "silu", gate, projection: down },
    (x, token) =>
      project(
        "down",
        project("gate", x).map((value, at) => silu(value) * (EMBEDDED.data[token * INNER + at] ?? 0)),
      ),
  ],
];

/** What is behind a residual: norm of what it adds, factor of the sum. */
const BEHIND: readonly (readonly [string, Partial<Residual>, number])[] = [
  ["", {}, 1],
  [", times a number", { scale: 0.7 }, 0.7],
  [", times a weight", { scale: tensorSource("factor", [1]) }, 0.37],
  [", with a norm of what is added", { postNorm: NORM }, 1],
];
const FORMS: readonly Partial<Arithmetic>[] = [{}, { norm: "fused", gate: "fused", product: "Transpose-MatMul" }];

describe.each(BLOCKS)("%s", (_name, block, formula) => {
  test.each(BEHIND.flatMap((scale) => FORMS.map((form) => [...scale, form] as const)))(
    "is the formula%s",
    async (_scale, differences, factor, form) => {
      const recorder: BlockRecorder = {
        attention: () => expect.unreachable(),
        experts: () => expect.unreachable(),
      };
      const { y } = await runBlocks(
        (context, input) => {
          const residual: Residual = { branches: [{ block }], ...differences };
          const perLayerInput = (layer: number) => (layer === 3 ? input("embedded") : expect.unreachable());
          const stream = recordResiduals(
            context,
            [residual],
            { hidden: input("x") },
            { ...recorder, ...(block.kind === "per-layer-input" && { perLayerInput }) },
          );
          context.builder.output(sumOfStream(context, stream), "y", "float32", ["batch", "tokens", HIDDEN]);
        },
        { x: X, ...(block.kind === "per-layer-input" && { embedded: EMBEDDED }) },
        WEIGHTS,
        form,
      );
      const expected = rowsOf(X).flatMap((x, token) => {
        const added = differences.postNorm === undefined ? formula(x, token) : normed(formula(x, token));
        return added.map((value, at) => (value + (x[at] ?? 0)) * factor);
      });
      expect(largestDifference(y, expected)).toBeLessThan(1e-5);
      expect(largestDifference(y, [...X.data])).toBeGreaterThan(1e-2);
    },
  );
});
