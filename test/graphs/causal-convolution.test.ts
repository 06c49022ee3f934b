// The depthwise causal convolution, run in ONNX Runtime, against its formula in float64.

import { describe, expect, test } from "vitest";
import { tensorSource } from "../../src/architectures/weight-source.js";
import { causalConvolution } from "../../src/graphs/causal-convolution.js";
import { causalConvolutionReference } from "./reference.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, type Tensor } from "./run-graph.js";

const CHANNELS = 6;

async function convolve(x: Tensor, weight: Tensor, bias: Tensor | undefined): Promise<Float32Array | undefined> {
  const [, , kernel = 0] = weight.shape;
  const convolution = {
    weight: tensorSource("weight", weight.shape),
    ...(bias && { bias: tensorSource("bias", bias.shape) }),
    ...{ channels: CHANNELS, kernel },
  };
  const { y } = await runBlocks(
    (context, input) =>
      context.builder.output(causalConvolution(context, input("x"), convolution), "y", "float32", [
        ...["batch", "tokens"],
        CHANNELS,
      ]),
    { x },
    { weight, ...(bias && { bias }) },
  );
  return y;
}

describe("a causal convolution is Σ weight[k] · x[t − (kernel − 1) + k] of each channel by itself", () => {
  test.each([
    [3, 7, "without a bias"],
    [4, 7, "with a bias"],
    [4, 2, "with a bias"],
    [1, 3, "with a bias"],
  ])("a kernel of %i over %i tokens, %s", async (kernel, tokens, kind) => {
    const x = randomTensor([2, tokens, CHANNELS], 1);
    const weight = randomTensor([CHANNELS, 1, kernel], 2);
    const bias = kind === "with a bias" ? randomTensor([CHANNELS], 3) : undefined;
    const prompts = [0, 1].map((prompt) => rowsOf(x).slice(prompt * tokens, (prompt + 1) * tokens));
    const expected = prompts.flatMap((rows) =>
      causalConvolutionReference(rows, rowsOf(weight), bias && [...bias.data]).flat(),
    );
    expect(largestDifference(await convolve(x, weight, bias), expected)).toBeLessThan(1e-6);
  });
});
