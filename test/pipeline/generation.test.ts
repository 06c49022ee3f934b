// What is found out about generating before anything is computed: whether the model has room where the texts will come from.

import { describe, expect, test } from "vitest";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { PromptDataError, ProviderError, UsageError } from "../../src/errors.js";
import { roundingsOf } from "../../src/pipeline/arms.js";
import { prepareGeneration } from "../../src/pipeline/generation.js";
import { EMBEDDED_EXAMPLE } from "../../src/pipeline/run-options.js";
import { localTokenizer } from "../helpers/local-tokenizer.js";

const checkpoint = await openCheckpoint(EMBEDDED_EXAMPLE);
const decoder = describeModel(checkpoint.config, checkpoint.tensors);
const tokenizer = await localTokenizer(EMBEDDED_EXAMPLE);
const facts = {
  ...{ checkpoint, decoder, end: describeModelEnd(checkpoint.tensors, decoder) },
  startTokenizer: () => tokenizer,
  rounding: roundingsOf({ dtype: "float8_e4m3fn", scales: undefined, bits16: "bfloat16" }),
  caches: { bits16: "16-bit", fp8: "fp8-at-1" },
  devices: undefined,
  options: {},
} as const;

describe("a model is refused beforehand", () => {
  test("that has learned too few positions for a prompt and its answer", async () => {
    const positions = { weight: "wpe.weight", offset: 0, tokens: 100 };
    const placed = { ...decoder, embedding: { ...decoder.embedding, positions } };
    const options = { maxNewTokens: 100 };
    const run = prepareGeneration({ ...facts, options, decoder: placed, memory: 2 ** 40 }, tokenizer, "cpu");
    await expect(run).rejects.toThrow(/a prompt has \d+ tokens, and this model has learned 100 positions: no room/);
    await expect(run).rejects.toThrow(PromptDataError);
  });

  test("that --memory has no room for on the CPU", async () => {
    await expect(prepareGeneration({ ...facts, memory: 2 ** 20 }, tokenizer, "cpu")).rejects.toThrow(UsageError);
  });

  test("that --memory has no room for on the device that will generate", async () => {
    const run = prepareGeneration({ ...facts, memory: 2 ** 30 }, tokenizer, "cuda");
    await expect(run).rejects.toThrow(ProviderError);
    await expect(run).rejects.toThrow(/keeps the whole model on the device: .* there is room for 0\.0 MiB/);
  });
});

test.each(["cpu", "cuda", "webgpu"] as const)(
  "with room for the model on %s, its prompts are read",
  async (provider) => {
    const { prompts, request } = await prepareGeneration({ ...facts, memory: 2 ** 40 }, tokenizer, provider);
    expect(request.prompts).toEqual(prompts.map(({ ids }) => ids));
    expect(prompts.length).toBeGreaterThan(5);
    expect(request.caches.map(({ elementType }) => elementType)).toEqual(["float8_e4m3fn", "bfloat16"]);
  },
);
