// The blocks of a decoder, run in ONNX Runtime, against the formulas in float64.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Activation } from "../../src/architectures/description.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "../../src/graphs/arithmetic.js";
import { gatedFeedForward, linear, mergeHeads, rangeOf, rmsNorm, splitHeads } from "../../src/graphs/blocks.js";
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
      const description = { weight: "weight", inputs: 12, outputs: 5, ...(given && { bias: "bias" }) };
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
    { weight: "weight", inputs: 12, outputs: 5 },
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
    const norm = { weight: "weight", size: 12, epsilon };
    const { y } = await runBlocks(
      (context, input) => {
        context.builder.output(rmsNorm(context, norm, input("x")), "y", "float32", [...BATCH_TOKENS, 12]);
      },
      { x },
      { weight },
    );
    const normOf = (row: number[]) => rmsNormReference(row, [...weight.data], epsilon);
    expect(largestDifference(y, rowsOf(x).flatMap(normOf))).toBeLessThan(2e-6);
  });
});

describe("the feed-forward is down(activation(gate(x)) · up(x))", () => {
  const gate = randomTensor([7, 12], 5);
  const up = randomTensor([7, 12], 6);
  const down = randomTensor([12, 7], 7);
  const biases = { gate: randomTensor([7], 8), up: randomTensor([7], 9), down: randomTensor([12], 10) };
  const description = (bias: boolean) => {
    const part = (name: "gate" | "up" | "down", inputs: number, outputs: number) => ({
      weight: name,
      inputs,
      outputs,
      ...(bias && { bias: `${name}.bias` }),
    });
    return { gate: part("gate", 12, 7), up: part("up", 12, 7), down: part("down", 7, 12) };
  };
  const activations = Object.keys(ACTIVATION_REFERENCES) as Activation[];

  test.each(activations.flatMap((activation) => [[activation, false] as const, [activation, true] as const]))(
    "with %s, biases: %s",
    async (activation, biased) => {
      const { y } = await runBlocks(
        (context, input) => {
          const feedForward = { activation, ...description(biased) };
          context.builder.output(gatedFeedForward(context, feedForward, input("x")), "y", "float32", [
            ...BATCH_TOKENS,
            12,
          ]);
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
