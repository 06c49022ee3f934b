// Every form of arithmetic that a provider asks for means the same: in float32 on the CPU, each gives what transformers
// finds. What is left to a device is its kernels and the width of its numbers.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { PROVIDERS } from "../../src/runtime/providers.js";
import { expectedOf, goldenFolder } from "../helpers/golden-checkpoints.js";

/** Head sizes with and without padding, q/k norms, windows, biases, other gates, long rotations, tied weights. */
const CHECKPOINTS = [
  "llama-gqa",
  "llama-head-dim",
  "llama-gelu",
  "llama-mlp-bias",
  "llama-rope-dynamic",
  "llama-f32",
  "mistral-sliding-window",
  "qwen2-large-key-bias",
  "qwen3-qk-norm",
];
const TOLERANCE = 1e-5;

function formsAskedFor(): [string, Arithmetic][] {
  const forms = Object.values(PROVIDERS).flatMap(({ arithmetic, wideArithmetic }) => [
    ...Object.values<Arithmetic>(arithmetic),
    wideArithmetic,
  ]);
  const named = forms.map((form): [string, Arithmetic] => {
    const { product, norm, gate, rotation } = form;
    return [`${product}, norm ${norm}, gate ${gate}, rotation ${rotation}`, { ...form, elementType: "float32" }];
  });
  return [...new Map(named)];
}

describe.each(formsAskedFor())("%s", (_form, arithmetic) => {
  test.each(CHECKPOINTS)("%s", async (name) => {
    const { token_ids: tokenIds, absmax } = expectedOf(name);
    const checkpoint = await openCheckpoint(goldenFolder(name));
    const decoder = describeModel(checkpoint.config, checkpoint.tensors);
    const plan = { ...planCompute({ provider: "cpu", checkpoint, decoder }), arithmetic };
    const { ranges } = await measureRanges({ checkpoint, decoder, tokenIds, plan });
    const deviations = absmax.flatMap((heads, layer) =>
      (["k", "v"] as const).flatMap((side) =>
        heads[side].map((value, head) => Math.abs((ranges[layer]?.[side].perHead[head] ?? Number.NaN) / value - 1)),
      ),
    );
    expect(Math.max(...deviations)).toBeLessThan(TOLERANCE);
  });
});
