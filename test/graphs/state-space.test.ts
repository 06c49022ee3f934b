// Mamba-2 and Mamba-1, run in ONNX Runtime, against their recurrences in float64, one token after the other.

import { describe, expect, test } from "vitest";
import type { ConvolvedProjection, Linear } from "../../src/architectures/blocks.js";
import type { SelectiveScan, StateSpace } from "../../src/architectures/state-space.js";
import { tensorSource } from "../../src/architectures/weight-source.js";
import type { GraphContext } from "../../src/graphs/blocks.js";
import { selectiveScan } from "../../src/graphs/selective-scan.js";
import { stateSpace } from "../../src/graphs/state-space.js";
import type { Value } from "../../src/onnx/graph-builder.js";
import { causalConvolutionReference, linearReference, pieces, rmsNormReference, type Vector } from "./reference.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, type Tensor, type Tensors } from "./run-graph.js";

const [TOKENS, HIDDEN, HEADS, HEAD_DIM, STATE, KERNEL, EPSILON] = [9, 10, 6, 4, 5, 3, 1e-3];
const [WIDTH, CHANNELS, RANK] = [HEADS * HEAD_DIM, 7, 3];
const U = randomTensor([1, TOKENS, HIDDEN], 1);

const silu = (x: number) => x / (1 + Math.exp(-x));
const softplus = (x: number) => Math.log1p(Math.exp(x));
const times = (x: Vector, factor: number) => x.map((value) => value * factor);

/** Weights by name, made where they are first asked for. */
class Weights {
  readonly tensors: Record<string, Tensor> = {};

  tensor(name: string, shape: readonly number[]): Tensor {
    this.tensors[name] ??= randomTensor(shape, 10 + Object.keys(this.tensors).length);
    return this.tensors[name];
  }

  source(name: string, shape: readonly number[]) {
    this.tensor(name, shape);
    return tensorSource(name, shape);
  }

  linear(name: string, inputs: number, outputs: number): Linear {
    return { weight: this.source(name, [outputs, inputs]), inputs, outputs };
  }

  convolved(name: string, outputs: number): ConvolvedProjection {
    const weight = this.source(`${name}.conv`, [outputs, 1, KERNEL]);
    const bias = this.source(`${name}.conv_bias`, [outputs]);
    return {
      projection: this.linear(name, HIDDEN, outputs),
      convolution: { weight, bias, channels: outputs, kernel: KERNEL },
    };
  }

  vector(name: string): Vector {
    return [...(this.tensors[name]?.data ?? [])];
  }

  rows(name: string): number[][] {
    return rowsOf(this.tensors[name] ?? U);
  }

  /** silu(convolution(factor · projection(u))) of each token */
  convolvedReference(name: string, factor = 1): number[][] {
    const projected = rowsOf(U).map((u) => times(linearReference(u, this.rows(name)), factor));
    const bias = this.vector(`${name}.conv_bias`);
    return causalConvolutionReference(projected, this.rows(`${name}.conv`), bias).map((row) => row.map(silu));
  }
}

async function run(record: (context: GraphContext, u: Value) => Value, tensors: Tensors) {
  const { y } = await runBlocks(
    (context, input) =>
      context.builder.output(record(context, input("u")), "y", "float32", ["batch", "tokens", HIDDEN]),
    { u: U },
    tensors,
  );
  return y;
}

/** S = exp(decay) · S + b ⊗ x for each number of a state, and Sᵀc; one state. @param decays per number of b */
function scan(steps: readonly { x: Vector; b: Vector; c: Vector; decays: Vector }[]): number[][] {
  let state: number[][] = [];
  return steps.map(({ x, b, c, decays }) => {
    state = b.map((key, n) => x.map((value, p) => Math.exp(decays[n] ?? 0) * (state[n]?.[p] ?? 0) + key * value));
    return x.map((_, p) => state.reduce((sum, row, n) => sum + (row[p] ?? 0) * (c[n] ?? 0), 0));
  });
}

type Difference = Partial<Pick<StateSpace, "groups" | "timeStepLimits" | "multipliers">> & {
  readonly when?: "before-gate" | "after-gate";
  readonly normGroups?: number;
};

function mamba2(weights: Weights, { groups = 2, when, normGroups = 2, ...differences }: Difference): StateSpace {
  return {
    kind: "state-space",
    ...{ heads: HEADS, headDim: HEAD_DIM, groups, activation: "silu" },
    x: weights.convolved("x", WIDTH),
    b: weights.convolved("b", groups * STATE),
    c: weights.convolved("c", groups * STATE),
    timeStep: weights.linear("time", HIDDEN, HEADS),
    timeStepBias: weights.source("time_bias", [HEADS]),
    decayLogRate: weights.source("rate", [HEADS]),
    skip: weights.source("skip", [HEADS]),
    gate: weights.linear("gate", HIDDEN, WIDTH),
    output: weights.linear("output", WIDTH, HIDDEN),
    ...(when && { norm: { weight: weights.source("norm", [WIDTH]), groups: normGroups, epsilon: EPSILON, when } }),
    ...differences,
  };
}

function mamba2Reference(weights: Weights, description: StateSpace): number[] {
  const { groups, timeStepLimits: limits, multipliers, norm } = description;
  const [x, b, c] = (["x", "b", "c"] as const).map((part) => weights.convolvedReference(part, multipliers?.[part]));
  const at = (rows: readonly Vector[] | undefined, token: number, size: number, piece: number) =>
    pieces(rows?.[token] ?? [], size)[piece] ?? [];
  const timeSteps = rowsOf(U).map((u) =>
    times(linearReference(u, weights.rows("time")), multipliers?.timeStep ?? 1).map((raw, head) => {
      const step = softplus(raw + (weights.vector("time_bias")[head] ?? 0));
      return Math.min(limits?.most ?? Number.POSITIVE_INFINITY, Math.max(limits?.least ?? 0, step));
    }),
  );
  const heads = Array.from({ length: HEADS }, (_, head) => {
    const group = Math.floor(head / (HEADS / groups));
    const values = timeSteps.map((_, token) => at(x, token, HEAD_DIM, head));
    const scanned = scan(
      timeSteps.map((steps, token) => {
        const step = steps[head] ?? Number.NaN;
        const decay = -Math.exp(weights.vector("rate")[head] ?? 0) * step;
        const key = at(b, token, STATE, group);
        return {
          x: times(values[token] ?? [], step),
          b: key,
          c: at(c, token, STATE, group),
          decays: key.map(() => decay),
        };
      }),
    );
    return scanned.map((row, token) =>
      row.map((value, p) => value + (weights.vector("skip")[head] ?? 0) * (values[token]?.[p] ?? 0)),
    );
  });
  const normed = (y: Vector) => {
    if (norm === undefined) return y;
    const size = WIDTH / norm.groups;
    const ofGroups = pieces(weights.vector("norm"), size);
    return pieces(y, size).flatMap((piece, group) => rmsNormReference(piece, ofGroups[group] ?? [], EPSILON));
  };
  return rowsOf(U).flatMap((u, token) => {
    const open = times(linearReference(u, weights.rows("gate")), multipliers?.gate ?? 1).map(silu);
    const gated = (y: Vector) => y.map((value, at) => value * (open[at] ?? 0));
    const y = heads.flatMap((rows) => rows[token] ?? []);
    const result = norm?.when === "before-gate" ? gated(normed(y)) : normed(gated(y));
    return linearReference(result, weights.rows("output"));
  });
}

describe("Mamba-2 is its recurrence", () => {
  test.each<[string, Difference]>([
    ["with one group of heads", { groups: 1 }],
    ["with three groups of heads", { groups: 3 }],
    ["with a norm behind the gate", { when: "after-gate" }],
    ["with a norm before the gate", { when: "before-gate", normGroups: 3 }],
    ["with steps of time that are raised", { timeStepLimits: { least: 0.8 } }],
    ["with steps of time that are raised and lowered", { timeStepLimits: { least: 0.4, most: 0.9 } }],
    ["with factors", { multipliers: { x: 0.7, b: 1.4, c: 1.2, timeStep: 0.6, gate: 1.7 } }],
  ])("%s", async (_how, difference) => {
    const weights = new Weights();
    const description = mamba2(weights, difference);
    const y = await run((context, u) => stateSpace(context, description, u), weights.tensors);
    expect(largestDifference(y, mamba2Reference(weights, description))).toBeLessThan(1e-5);
  });
});

function mamba1(weights: Weights, channels: number, stateSize: number): SelectiveScan {
  const normed = (name: string, outputs: number) => ({
    projection: weights.linear(name, channels, outputs),
    norm: { kind: "rms", weight: weights.source(`${name}.norm`, [outputs]), size: outputs, epsilon: EPSILON } as const,
  });
  return {
    kind: "selective-scan",
    ...{ channels, activation: "silu" },
    x: weights.convolved("x", channels),
    b: normed("b", stateSize),
    c: normed("c", stateSize),
    timeStepInput: normed("step", RANK),
    timeStep: { ...weights.linear("time", RANK, channels), bias: weights.source("time_bias", [channels]) },
    decayLogRate: weights.source("rate", [channels, stateSize]),
    skip: weights.source("skip", [channels]),
    gate: weights.linear("gate", HIDDEN, channels),
    output: weights.linear("output", channels, HIDDEN),
  };
}

function mamba1Reference(weights: Weights): number[] {
  const x = weights.convolvedReference("x");
  const normed = (name: string) =>
    x.map((row) => rmsNormReference(linearReference(row, weights.rows(name)), weights.vector(`${name}.norm`), EPSILON));
  const [b, c] = [normed("b"), normed("c")];
  const timeSteps = normed("step").map((row) =>
    linearReference(row, weights.rows("time"), weights.vector("time_bias")).map(softplus),
  );
  const channels = weights.rows("rate").map((rates, channel) =>
    scan(
      timeSteps.map((steps, token) => {
        const step = steps[channel] ?? Number.NaN;
        const value = [step * (x[token]?.[channel] ?? 0)];
        return { x: value, b: b[token] ?? [], c: c[token] ?? [], decays: rates.map((rate) => -Math.exp(rate) * step) };
      }),
    ),
  );
  return rowsOf(U).flatMap((u, token) => {
    const open = linearReference(u, weights.rows("gate")).map(silu);
    const y = channels.map((rows, channel) => {
      const skipped = (weights.vector("skip")[channel] ?? 0) * (x[token]?.[channel] ?? 0);
      return ((rows[token]?.[0] ?? 0) + skipped) * (open[channel] ?? 0);
    });
    return linearReference(y, weights.rows("output"));
  });
}

// Channels are computed in groups, as many as numbers in a state: groups of one size, a smaller last one, one channel each.
describe("Mamba-1 is its recurrence", () => {
  test.each([
    [8, 4],
    [CHANNELS, 3],
    [3, 5],
    [4, 1],
  ])("with %i channels and %i numbers in a state", async (channels, stateSize) => {
    const weights = new Weights();
    const description = mamba1(weights, channels, stateSize);
    const y = await run((context, u) => selectiveScan(context, description, u), weights.tensors);
    expect(largestDifference(y, mamba1Reference(weights))).toBeLessThan(1e-5);
  });
});
