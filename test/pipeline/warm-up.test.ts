// Warming up computes for nothing: it changes no result, and what fails in it is said by what comes after.

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError } from "../../src/errors.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { warmUp } from "../../src/pipeline/warm-up.js";
import { expectedOf, goldenFolder } from "../helpers/golden-checkpoints.js";

async function requestOf(name: string) {
  const checkpoint = await openCheckpoint(goldenFolder(name));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  return { checkpoint, decoder, plan: planCompute({ provider: "cpu", checkpoint, decoder }) };
}

describe.each(["llama-gqa", "mistral-sliding-window", "qwen3-qk-norm"])("a layer of %s over nothing", (name) => {
  test.each([16384, 100])("runs, with batches of %d tokens", async (batchTokens) => {
    const request = await requestOf(name);
    await expect(warmUp({ ...request, plan: { ...request.plan, batchTokens } })).resolves.toBeUndefined();
  });

  test("leaves what is measured after it as it is", async () => {
    const request = await requestOf(name);
    const { token_ids: tokenIds } = expectedOf(name);
    const before = await measureRanges({ ...request, tokenIds });
    await warmUp(request);
    expect((await measureRanges({ ...request, tokenIds })).ranges).toEqual(before.ranges);
  });
});

test("a layer whose weights cannot be read is an error that names the file", async () => {
  const request = await requestOf("llama-gqa");
  const moved = new Map(
    [...request.checkpoint.tensors].map(([tensor, place]) => [
      tensor,
      { ...place, file: join(place.file, "..", "gone") },
    ]),
  );
  const checkpoint = { ...request.checkpoint, tensors: moved };
  const run = warmUp({ ...request, checkpoint });
  await expect(run).rejects.toBeInstanceOf(CheckpointError);
  await expect(run).rejects.toThrow(/gone: /);
});
