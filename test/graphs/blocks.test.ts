// The blocks of a decoder, run in ONNX Runtime, against the formulas in float64.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Activation, Norm } from "../../src/architectures/blocks.js";
import { tensorSource, type WeightSource } from "../../src/architectures/weight-source.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "../../src/graphs/arithmetic.js";
import { feedForward, linear, mergeHeads, multiply, rangeOf, splitHeads } from "../../src/graphs/blocks.js";
import { norm, normOfSum } from "../../src/graphs/norm.js";
import { GraphWeights } from "../../src/graphs/weights.js";
import { GraphBuilder } from "../../src/onnx/graph-builder.js";
import { encodeModelProto } from "../../src/onnx/model-proto.js";
import { ACTIVATION_REFERENCES, linearReference, rmsNormReference } from "./reference.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, storeWeights, tensor } from "./run-graph.js";

const X = randomTensor([2, 3, 12], 1, 2); // [batch, tokens, hidden]
const BATCH_TOKENS = ["batch", "tokens"];

const PRODUCTS = ["FusedMatMul", "MatMul", "Transpose-MatMul"] as const satisfies readonly Arithmetic["product"][];

describe("linear is x · weightᵀ + bias, with the weight as it lies in the file", () => {
  const weight = randomTensor([5, 12], 2);
  const bias = randomTensor([5], 3);
  const kinds = [
    ["with a bias", bias],
    ["without one", undefined],
  ] as const;
  test.each(PRODUCTS.flatMap((product) => kinds.map(([kind, given]) => [product, kind, given] as const)))(
    "as %s, %s",
    async (product, _kind, given) => {
      const description = {
        weight: tensorSource("weight", [5, 12]),
        ...{ inputs: 12, outputs: 5 },
        ...(given && { bias: tensorSource("bias", [5]) }),
      };
      const { y } = await runBlocks(
        (context, input) =>
          context.builder.output(linear(context, description, input("x")), "y", "float32", [...BATCH_TOKENS, 5]),
        { x: X },
        { weight, bias },
        { product },
      );
      const expected = rowsOf(X).flatMap((row) => linearReference(row, rowsOf(weight), given && [...given.data]));
      expect(largestDifference(y, expected)).toBeLessThan(5e-6);
    },
  );
});

test.each([
  ["FusedMatMul", false],
  ["MatMul", false],
  ["Transpose-MatMul", true],
] as const)("as %s, a session transposes the weight in each run: %s", async (product, inEachRun) => {
  const { folder, locate } = await storeWeights({ weight: randomTensor([5, 12], 2) });
  const builder = new GraphBuilder();
  const arithmetic = { ...FLOAT32_ARITHMETIC, product };
  const x = builder.input("x", "float32", [...BATCH_TOKENS, 12]);
  const y = linear(
    { builder, weights: new GraphWeights(builder, locate), arithmetic },
    { weight: tensorSource("weight", [5, 12]), inputs: 12, outputs: 5 },
    x,
  );
  builder.output(y, "y", "float32", [...BATCH_TOKENS, 5]);
  const optimizedModelFilePath = join(folder, "optimized.onnx");
  const session = await InferenceSession.create(encodeModelProto(builder.finish()), {
    optimizedModelFilePath,
    graphOptimizationLevel: "basic", // constants are folded; no operators are fused that only the CPU has
    extra: { session: { model_external_initializers_file_folder_path: folder } },
  });
  await session.release();
  const operatorType = Buffer.from("\x22\x09Transpose"); // NodeProto.op_type: field 4, 9 bytes
  expect((await readFile(optimizedModelFilePath)).includes(operatorType)).toBe(inEachRun);
});

describe("the RMS norm is x / √(mean(x²) + ε) · weight", () => {
  const weight = randomTensor([12], 4);
  const tiny = { ...X, data: X.data.map((value) => value * 1e-3) };
  test.each([
    ["of usual numbers", X, 1e-6],
    ["of small numbers, where epsilon counts", tiny, 1e-5],
    ["with a large epsilon", X, 0.5],
  ])("%s", async (_rule, x, epsilon) => {
    const description: Norm = { kind: "rms", weight: tensorSource("weight", [12]), size: 12, epsilon };
    const { y } = await runBlocks(
      (context, input) => {
        context.builder.output(norm(context, description, input("x")), "y", "float32", [...BATCH_TOKENS, 12]);
      },
      { x },
      { weight },
    );
    const normOf = (row: number[]) => rmsNormReference(row, [...weight.data], epsilon);
    expect(largestDifference(y, rowsOf(x).flatMap(normOf))).toBeLessThan(2e-6);
  });
});

describe("a norm is what its kind says", () => {
  const size = 12;
  const weights = { weight: randomTensor([size], 4), bias: randomTensor([size], 5) };
  const [weight, bias] = [tensorSource("weight", [size]), tensorSource("bias", [size])];
  const epsilon = 1e-3;
  /** In float64. */
  const reference = (description: Norm, row: readonly number[]) => {
    const mean = description.kind === "layer" ? row.reduce((sum, x) => sum + x, 0) / size : 0;
    const centered = row.map((x) => x - mean);
    const root = Math.sqrt(centered.reduce((sum, x) => sum + x * x, 0) / size + epsilon);
    const factor = (at: number) =>
      description.weight === undefined ? 1 : (weights.weight.data[at] ?? 0) + (description.plusOne ? 1 : 0);
    const shift = (at: number) => (description.kind === "layer" && description.bias ? (weights.bias.data[at] ?? 0) : 0);
    return centered.map((x, at) => (x / root) * factor(at) + shift(at));
  };
  const kinds: readonly (readonly [string, Norm])[] = [
    ["RMS, weight", { kind: "rms", weight, size, epsilon }],
    ["RMS, no weight", { kind: "rms", size, epsilon }],
    ["RMS, weight + 1", { kind: "rms", weight, size, epsilon, plusOne: true }],
    ["RMS, product in float32", { kind: "rms", weight, size, epsilon, product: "float32" }],
    ["layer norm, weight and bias", { kind: "layer", weight, bias, size, epsilon }],
    ["layer norm, weight", { kind: "layer", weight, size, epsilon }],
    ["layer norm, nothing", { kind: "layer", size, epsilon }],
    ["layer norm, weight + 1 and bias", { kind: "layer", weight, bias, size, epsilon, plusOne: true }],
  ];
  test.each(
    kinds.flatMap(([name, kind]) =>
      (["fused", "written-out"] as const).flatMap((form) =>
        [false, true].map((isOfSum) => [name, form, isOfSum, kind] as const),
      ),
    ),
  )("%s, %s, of a sum: %s", async (_name, form, isOfSum, description) => {
    const { y } = await runBlocks(
      (context, input) => {
        const x = input("x");
        const normed = isOfSum ? normOfSum(context, description, x, x).normed : norm(context, description, x);
        context.builder.output(normed, "y", "float32", [...BATCH_TOKENS, size]);
      },
      { x: X },
      weights,
      { norm: form },
    );
    const expected = rowsOf(X).flatMap((row) => reference(description, isOfSum ? row.map((x) => 2 * x) : row));
    expect(largestDifference(y, expected)).toBeLessThan(5e-6);
  });
});

describe("a weight is multiplied wherever its numbers are", () => {
  const tensors = {
    stacked: randomTensor([3, 12, 12], 31), // [experts, outputs, inputs] or [experts, inputs, outputs]
    fused: randomTensor([18, 12], 32), // [outputs, inputs]
    turned: randomTensor([12, 18], 33), // [inputs, outputs]
  };
  const row = (name: "stacked" | "fused", at: number) => [...tensors[name].data.subarray(at * 12, (at + 1) * 12)];
  const column = (at: number) => Array.from({ length: 12 }, (_, input) => tensors.turned.data[input * 18 + at] ?? 0);
  const rangeOfNumbers = (start: number, end: number) => Array.from({ length: end - start }, (_, at) => start + at);
  const fused = tensorSource("fused", [18, 12]);
  const turned = { ...tensorSource("turned", [12, 18]), stored: "inputs-first" } as const;
  const expert: WeightSource = { kind: "expert", of: tensorSource("stacked", [3, 12, 12]), index: 1 };
  const turnedExpert: WeightSource = { ...expert, of: { ...expert.of, stored: "inputs-first" } };
  const inGroups = rangeOfNumbers(0, 3).flatMap((group) => rangeOfNumbers(group * 6 + 2, group * 6 + 4));
  const sources: readonly (readonly [string, WeightSource, number[][]])[] = [
    [
      "rows of a fused tensor",
      { kind: "rows", of: fused, start: 4, end: 9 },
      rangeOfNumbers(4, 9).map((at) => row("fused", at)),
    ],
    ["inputs first", turned, rangeOfNumbers(0, 18).map(column)],
    ["rows where inputs are first", { kind: "rows", of: turned, start: 6, end: 12 }, rangeOfNumbers(6, 12).map(column)],
    [
      "head by head",
      { kind: "interleaved", of: fused, groups: 3, start: 2, end: 4 },
      inGroups.map((at) => row("fused", at)),
    ],
    [
      "head by head, inputs first",
      { kind: "interleaved", of: turned, groups: 3, start: 2, end: 4 },
      inGroups.map(column),
    ],
    ["an expert of a stack", expert, rangeOfNumbers(12, 24).map((at) => row("stacked", at))],
    [
      "an expert stored inputs first",
      turnedExpert,
      rangeOfNumbers(0, 12).map((output) => rangeOfNumbers(12, 24).map((at) => row("stacked", at)[output] ?? 0)),
    ],
    [
      "an expert of those whose rows lie one behind the other",
      { kind: "expert", of: fused, index: 1, count: 3 },
      rangeOfNumbers(6, 12).map((at) => row("fused", at)),
    ],
    [
      "every second output of an expert stored inputs first",
      { kind: "interleaved", of: turnedExpert, groups: 6, start: 1, end: 2 },
      [1, 3, 5, 7, 9, 11].map((output) => rangeOfNumbers(12, 24).map((at) => row("stacked", at)[output] ?? 0)),
    ],
    [
      "half an expert",
      { kind: "rows", of: expert, start: 6, end: 12 },
      rangeOfNumbers(18, 24).map((at) => row("stacked", at)),
    ],
    [
      "every second row of some rows",
      { kind: "interleaved", of: { kind: "rows", of: fused, start: 2, end: 8 }, groups: 3, start: 1, end: 2 },
      [3, 5, 7].map((at) => row("fused", at)),
    ],
  ];
  test.each(sources.flatMap(([name, ...given]) => PRODUCTS.map((product) => [name, product, ...given] as const)))(
    "%s, as %s",
    async (_name, product, source, rows) => {
      const { y } = await runBlocks(
        (context, input) =>
          context.builder.output(multiply(context, input("x"), source), "y", "float32", [...BATCH_TOKENS, rows.length]),
        { x: X },
        tensors,
        { product },
      );
      expect(
        largestDifference(
          y,
          rowsOf(X).flatMap((x) => linearReference(x, rows)),
        ),
      ).toBeLessThan(5e-6);
    },
  );
});

test("weights of their own for each head are put one before the other", async () => {
  const of = [tensorSource("first", [12]), tensorSource("second", [12])] as const;
  const tensors = { first: randomTensor([12], 41), second: randomTensor([12], 42) };
  const heads = randomTensor([1, 3, 2, 12], 43); // [batch, tokens, heads, head_dim]
  const description: Norm = { kind: "rms", weight: { kind: "stacked", of }, size: 12, epsilon: 1e-3 };
  const { y } = await runBlocks(
    (context, input) =>
      context.builder.output(norm(context, description, input("x")), "y", "float32", ["batch", "tokens", 2, 12]),
    { x: heads },
    tensors,
  );
  const weights = [[...tensors.first.data], [...tensors.second.data]];
  const expected = rowsOf(heads).flatMap((row, at) => rmsNormReference(row, weights[at % 2] ?? [], 1e-3));
  expect(largestDifference(y, expected)).toBeLessThan(5e-6);
});

describe("the feed-forward is down(activation(gate(x)) · up(x))", () => {
  const gate = randomTensor([7, 12], 5);
  const up = randomTensor([7, 12], 6);
  const down = randomTensor([12, 7], 7);
  const biases = { gate: randomTensor([7], 8), up: randomTensor([7], 9), down: randomTensor([12], 10) };
  const description = (bias: boolean) => {
    const part = (name: "gate" | "up" | "down", inputs: number, outputs: number) => ({
      weight: tensorSource(name, [outputs, inputs]),
      inputs,
      outputs,
      ...(bias && { bias: tensorSource(`${name}.bias`, [outputs]) }),
    });
    return { gate: part("gate", 12, 7), up: part("up", 12, 7), down: part("down", 7, 12) };
  };
  const activations = Object.keys(ACTIVATION_REFERENCES) as Activation[];

  test.each(activations.flatMap((activation) => [[activation, false] as const, [activation, true] as const]))(
    "with %s, biases: %s",
    async (activation, biased) => {
      const { y } = await runBlocks(
        (context, input) => {
          const y = feedForward(context, { kind: "feed-forward", activation, ...description(biased) }, input("x"));
          context.builder.output(y, "y", "float32", [...BATCH_TOKENS, 12]);
        },
        { x: X },
        { gate, up, down, "gate.bias": biases.gate, "up.bias": biases.up, "down.bias": biases.down },
      );
      const biasOf = (name: "gate" | "up" | "down") => (biased ? [...biases[name].data] : undefined);
      const expected = rowsOf(X).flatMap((row) => {
        const gated = linearReference(row, rowsOf(gate), biasOf("gate")).map(ACTIVATION_REFERENCES[activation]);
        const raised = linearReference(row, rowsOf(up), biasOf("up"));
        return linearReference(
          gated.map((value, i) => value * (raised[i] ?? Number.NaN)),
          rowsOf(down),
          biasOf("down"),
        );
      });
      expect(largestDifference(y, expected)).toBeLessThan(1e-4 * Math.max(...expected.map(Math.abs)) * 0.1);
    },
  );

  test("with a clamped SwiGLU, beyond its limit on both sides", async () => {
    const [alpha, limit] = [1.702, 0.9];
    const activation = { kind: "clamped-swiglu", alpha, limit } as const;
    const { y } = await runBlocks(
      (context, input) => {
        const y = feedForward(context, { kind: "feed-forward", activation, ...description(true) }, input("x"));
        context.builder.output(y, "y", "float32", [...BATCH_TOKENS, 12]);
      },
      { x: X },
      { gate, up, down, "gate.bias": biases.gate, "up.bias": biases.up, "down.bias": biases.down },
    );
    const [opens, raises] = [gate, up].map((weight, part) =>
      rowsOf(X).map((row) => linearReference(row, rowsOf(weight), [...(part === 0 ? biases.gate : biases.up).data])),
    ) as [number[][], number[][]];
    for (const side of [opens, raises].map((values) => values.flat())) {
      expect(side.some((value) => value > limit) && side.some((value) => value < -limit)).toBe(true);
    }
    const expected = opens.flatMap((open, at) => {
      const gated = open.map((value, i) => {
        const glu = Math.min(value, limit) / (1 + Math.exp(-alpha * Math.min(value, limit)));
        return glu * (Math.max(-limit, Math.min(raises[at]?.[i] ?? Number.NaN, limit)) + 1);
      });
      return linearReference(gated, rowsOf(down), [...biases.down.data]);
    });
    expect(largestDifference(y, expected)).toBeLessThan(1e-5);
  });

  // [arXiv 2411.13010], with small numbers on both sides of 0, where exp(x) − 1 − x has few digits left.
  test("with xIELU and its learned numbers, without a gate", async () => {
    const numbers = { p: 0.7, n: -0.4, beta: 0.5, eps: -1e-6 };
    const xielu = (x: number) => {
      const softplus = (value: number) => Math.log1p(Math.exp(value));
      if (x > 0) return softplus(numbers.p) * x * x + numbers.beta * x;
      return (Math.expm1(Math.min(x, numbers.eps)) - x) * (numbers.beta + softplus(numbers.n)) + numbers.beta * x;
    };
    const small = { ...X, data: X.data.map((value, at) => (at % 2 === 0 ? value : value * 1e-4)) };
    const identity = { weight: tensorSource("one", [12, 12]), inputs: 12, outputs: 12 };
    const activation = {
      kind: "xielu",
      positive: tensorSource("p", [1]),
      negative: tensorSource("n", [1]),
      beta: tensorSource("beta", []),
      epsilon: tensorSource("eps", []),
    } as const;
    const one = tensor(
      [12, 12],
      Array.from({ length: 144 }, (_, at) => (at % 13 === 0 ? 1 : 0)),
    );
    const { y } = await runBlocks(
      (context, input) => {
        const y = feedForward(context, { kind: "feed-forward", activation, up: identity, down: identity }, input("x"));
        context.builder.output(y, "y", "float32", [...BATCH_TOKENS, 12]);
      },
      { x: small },
      {
        one,
        p: tensor([1], [numbers.p]),
        n: tensor([1], [numbers.n]),
        beta: tensor([], [numbers.beta]),
        eps: tensor([], [numbers.eps]),
      },
    );
    const deviations = [...(y ?? [])].map((value, at) => Math.abs(value / xielu(small.data[at] ?? 0) - 1));
    expect(Math.max(...deviations)).toBeLessThan(2e-6);
    expect(deviations).toHaveLength(small.data.length);
  });

  test("the two kinds of gelu differ by more than the tolerance", () => {
    const { gelu, gelu_tanh } = ACTIVATION_REFERENCES;
    expect(Math.abs(gelu(2.3) - gelu_tanh(2.3))).toBeGreaterThan(1e-4);
    expect(gelu(1)).toBeCloseTo(0.8413447460685429, 12);
    expect(gelu(-3.5)).toBeCloseTo(-3.5 * 0.00023262907903552504, 12);
  });
});

test("splitting into heads and merging again is the identity", async () => {
  const { y } = await runBlocks(
    ({ builder }, input) => {
      builder.output(mergeHeads(builder, splitHeads(builder, input("x"), 3, 4)), "y", "float32", [...BATCH_TOKENS, 12]);
    },
    { x: X },
  );
  expect(y).toEqual(X.data);
});

describe("a range", () => {
  const rangeOfValues = (values: readonly number[]) =>
    runBlocks(
      (context, input) => {
        const { builder } = context;
        const { absmax, sumOfSquares } = rangeOf(context, input("x"));
        builder.output(absmax, "absmax", "float32", ["batch", "heads"]);
        builder.output(sumOfSquares, "sum", "float32", ["batch"]);
      },
      { x: tensor([2, 2, 2, 2], values) }, // [batch, tokens, heads, head_dim]
    );
  // Two prompts of two tokens with two heads of two values.
  const VALUES = [1, -2, 3, 4, -5, 0, 0.5, 0.25, /* second prompt */ 0, 0, -7, 6, 0, 1e-30, 2, 1];

  test("is the largest |x| per prompt and head, over tokens and values", async () => {
    expect([...((await rangeOfValues(VALUES)).absmax ?? [])]).toEqual([5, 4, Math.fround(1e-30), 7]);
  });

  test.each([
    ["NaN", Number.NaN],
    ["Inf", Number.POSITIVE_INFINITY],
    ["−Inf", Number.NEGATIVE_INFINITY],
  ])("lets %s be noticed wherever it is, in the prompt that has it", async (_name, value) => {
    for (const index of VALUES.keys()) {
      const { sum = [] } = await rangeOfValues(VALUES.with(index, value));
      const prompt = Math.floor(index / 8);
      expect([...sum].map(Number.isFinite), `value ${index}`).toEqual([prompt !== 0, prompt !== 1]);
    }
  });
});
