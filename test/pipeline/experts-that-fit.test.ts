// Stacked experts are used while what is sent to each fits; else one expert is computed after the other.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { blocksOf } from "../../src/architectures/description.js";
import type { Experts } from "../../src/architectures/experts.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, ProviderError } from "../../src/errors.js";
import { stackedTokens } from "../../src/graphs/stacked-experts.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import { CrowdedExpertsError, inExpertsThatFit, requireRoomForExperts } from "../../src/pipeline/experts-that-fit.js";
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

test("batches on CUDA are so small that no activation has more numbers than 32 bits count, wherever tokens are sent", async () => {
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
      const rows = batchTokens * block.router.perToken;
      const size = Math.ceil(rows / (count * 64)) * 64;
      const further = Math.floor(rows / size);
      if (batchTokens > 512) expect((count + further) * size * hidden).toBeLessThan(2 ** 31);
      expect(batchTokens).toBeLessThanOrEqual(Math.max(512, stackedTokens(mixture)));
    }),
    { numRuns: 30 },
  );
});

describe("work is done again with one expert after the other, and the reader is told", () => {
  test.each<[what: string, error: Error, words: string]>([
    ["where a prompt is too long", new CrowdedExpertsError(), "shorter prompts"],
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

test("a batch that is too large for all experts together is refused before anything is computed", async () => {
  const { plan, decoder } = await modelOf("qwen3_moe-plain");
  const block = decoder.layers.flatMap(blocksOf).find(({ kind }) => kind === "experts");
  if (block?.kind !== "experts") throw new Error("the golden has experts");
  const most = stackedTokens(block);
  const check = (tokens: number, form: Form = "stacked") => {
    requireRoomForExperts({ ...plan, arithmetic: { ...plan.arithmetic, experts: form } }, decoder, tokens);
  };
  expect(() => check(most)).not.toThrow();
  expect(() => check(most + 1)).toThrow(CrowdedExpertsError);
  expect(() => check(most + 1, "one-by-one")).not.toThrow();
});
