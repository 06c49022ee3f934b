// Every form of arithmetic that a provider asks for means the same: in float32 on the CPU, each gives what transformers
// finds. What is left to a device is its kernels and the width of its numbers.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { PROVIDERS, type Provider } from "../../src/runtime/providers.js";
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
  const forms = Object.values<Provider>(PROVIDERS).flatMap(({ arithmetic, wideArithmetic, checksAttention }) => {
    const own = [...Object.values<Arithmetic>(arithmetic), wideArithmetic];
    // What attention is replaced by where a trial finds the operator wrong.
    return checksAttention ? [...own, ...own.map((form) => ({ ...form, attention: "written-out" }) as const)] : own;
  });
  const named = forms.map((form): [string, Arithmetic] => {
    const { elementType: _, product, ...operators } = form;
    const names = Object.entries(operators).map(([block, operator]) => `${block} ${operator}`);
    return [[product, ...names].join(", "), { ...form, elementType: "float32" }];
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
