// Stacked experts are used while what is sent to each fits; else one expert is computed after the other.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { blocksOf } from "../../src/architectures/description.js";
import type { Experts } from "../../src/architectures/experts.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, ProviderError } from "../../src/errors.js";
import { capacityOf } from "../../src/graphs/stacked-experts.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import { CrowdedExpertsError, inExpertsThatFit, requireRoomForRows } from "../../src/pipeline/experts-that-fit.js";
import { goldenFolder } from "../helpers/golden-checkpoints.js";

type Form = ComputePlan["arithmetic"]["experts"];

async function modelOf(name: string, experts: Form = "stacked") {
  const checkpoint = await openCheckpoint(goldenFolder(name));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const plan = planCompute({ provider: "cpu", checkpoint, decoder });
  return { decoder, plan: { ...plan, arithmetic: { ...plan.arithmetic, experts } } };
}

/** Work that says what it was done in, and fails where experts are stacked. */
const failing = (error: Error) => async (plan: ComputePlan) => {
  if (plan.arithmetic.experts === "stacked") throw error;
  return plan.arithmetic.experts;
};

test("batches on CUDA are so small that all tokens may be sent to one expert", async () => {
  const checkpoint = await openCheckpoint(goldenFolder("qwen3_moe-plain"));
  const { decoder } = await modelOf("qwen3_moe-plain");
  const [layer, ...others] = decoder.layers;
  const block = decoder.layers.flatMap(blocksOf).find(({ kind }) => kind === "experts");
  if (layer === undefined || block?.kind !== "experts") throw new Error("the golden has experts");
  const [expert] = block.experts;
  if (expert === undefined) throw new Error("the mixture has an expert");
  fc.assert(
    fc.property(fc.integer({ min: 16, max: 512 }), fc.integer({ min: 7, max: 13 }), (count, power) => {
      const hidden = 2 ** power;
      const experts = Array.from({ length: count }, () => expert);
      const logits = { ...block.router.logits, inputs: hidden, outputs: count };
      const mixture: Experts = { ...block, experts, router: { ...block.router, logits } };
      const wide = {
        ...decoder,
        layers: [{ ...layer, residuals: [{ branches: [{ block: mixture }] }] }, ...others],
      } as const;
      const { batchTokens } = planCompute({ provider: "cuda", checkpoint, decoder: wide });
      expect(capacityOf(mixture) % 64).toBe(0);
      expect(count * capacityOf(mixture) * hidden).toBeLessThan(2 ** 31);
      expect(batchTokens).toBeLessThanOrEqual(Math.max(512, capacityOf(mixture)));
    }),
    { numRuns: 30 },
  );
});

describe("work is done again with one expert after the other, and the reader is told", () => {
  test.each<[what: string, error: Error, words: string]>([
    ["where an expert is sent too much", new CrowdedExpertsError(), "shorter prompts"],
    ["where the device has no room", new ProviderError("out of memory"), "out of memory"],
  ])("%s", async (_what, error, words) => {
    const { plan, decoder } = await modelOf("qwen3_moe-plain");
    const held = await inExpertsThatFit(plan, decoder, failing(error));
    expect(held).toMatchObject({ result: "one-by-one", plan: { arithmetic: { experts: "one-by-one" } } });
    expect(held.warnings).toEqual([expect.stringContaining(words)]);
  });
});

describe("an error is the reader's", () => {
  const lost = new ProviderError("device lost");
  test.each<[what: string, name: string, error: Error]>([
    ["of a model without experts", "llama-gqa", lost],
    ["of experts that are never stacked", "gpt_oss-plain", lost],
    ["that says nothing of room", "qwen3_moe-plain", new CheckpointError("too short")],
  ])("%s", async (_what, name, error) => {
    const { plan, decoder } = await modelOf(name);
    await expect(inExpertsThatFit(plan, decoder, failing(error))).rejects.toBe(error);
  });

  test("that comes with one expert after the other, too", async () => {
    const { plan, decoder } = await modelOf("qwen3_moe-plain");
    await expect(inExpertsThatFit(plan, decoder, () => Promise.reject(lost))).rejects.toBe(lost);
  });
});

test("a batch that sends an expert more than fits is refused, in the layer that does it", async () => {
  const { plan, decoder } = await modelOf("qwen3_moe-plain");
  const layer = decoder.layers.findIndex(({ residuals }) => residuals.at(-1)?.branches[0].block.kind === "experts");
  const block = decoder.layers[layer]?.residuals.at(-1)?.branches[0].block;
  if (block?.kind !== "experts") throw new Error("the golden has experts");
  const capacity = capacityOf(block);
  const tokens = (most: number) => Float32Array.from(block.experts, (_, expert) => (expert === 1 ? most : 0));
  const check = (most: number, form: Form = "stacked", of = layer) => {
    requireRoomForRows({ ...plan, arithmetic: { ...plan.arithmetic, experts: form } }, decoder, of, tokens(most));
  };
  expect(() => check(capacity)).not.toThrow();
  expect(() => check(capacity + 1)).toThrow(CrowdedExpertsError);
  expect(() => check(capacity + 1, "one-by-one")).not.toThrow();
});
