// How much of a model, and how many tokens, a run takes at a time: by what the user allows, or what is free.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { ComputeType } from "../../src/graphs/arithmetic.js";
import { mostRows, narrowingWarnings, planCompute, storedTypeOf } from "../../src/pipeline/compute-plan.js";
import { PROVIDERS, type Provider, type ProviderName, type StoredType } from "../../src/runtime/providers.js";
import { withBlocks } from "../helpers/descriptions.js";
import { goldenFolder } from "../helpers/golden-checkpoints.js";

const GIBIBYTE = 2 ** 30;
const ON_DEVICES = (Object.keys(PROVIDERS) as ProviderName[]).filter((name) => PROVIDERS[name].usesDevice);

const checkpoint = await openCheckpoint(goldenFolder("llama-gqa"));
const tiny = describeModel(checkpoint.config, checkpoint.tensors);
/** The sizes of Llama-3-8B's layers, which is all that a plan looks at. */
const large: typeof tiny = {
  ...withBlocks(tiny, (block) => {
    if (block.kind === "feed-forward") return { ...block, up: { ...block.up, inputs: 4096, outputs: 14336 } };
    if (block.kind !== "attention") return block;
    return { ...block, kvHeads: 8, headDim: 128, query: { ...block.query, inputs: 4096, outputs: 4096 } };
  }),
  hiddenSize: 4096,
};

describe("on the CPU --memory is the weights in memory", () => {
  test("as given", () => {
    const plan = planCompute({ provider: "cpu", checkpoint, decoder: large, memory: 3 * GIBIBYTE });
    expect(plan).toMatchObject({ segmentBytes: 3 * GIBIBYTE, batchTokens: PROVIDERS.cpu.batchTokens });
  });

  test("by default small segments", () => {
    const plan = planCompute({ provider: "cpu", checkpoint, decoder: large });
    expect(plan.segmentBytes).toBe(32 * 2 ** 20);
  });
});

describe.each(ON_DEVICES)("on %s", (provider) => {
  const {
    defaultSegmentBytes,
    batchTokens: wanted,
    maxBufferBytes = Number.POSITIVE_INFINITY,
  }: Provider = PROVIDERS[provider];
  /** As many as the provider likes, but for the gate's 14,336 numbers of two bytes per token to fit a buffer. */
  const most = Math.min(wanted, Math.floor(maxBufferBytes / (14336 * 2)));
  const plan = (limits: { memory?: number; freeDeviceMemory?: number }, decoder = large) =>
    planCompute({ provider, checkpoint, decoder, ...limits });

  test("nothing known of memory: the provider's own sizes", () => {
    expect(plan({})).toMatchObject({ segmentBytes: defaultSegmentBytes, batchTokens: most });
  });

  test("weights leave room for the context and the activations, and for others", () => {
    const free = 80 * GIBIBYTE;
    const { segmentBytes, batchTokens } = plan({ freeDeviceMemory: free });
    // The widest moment of Llama-3-8B's layer: gate, up and their product, beside the residual stream, two bytes each.
    const activations = batchTokens * 2 * (3 * 14336 + 2 * 4096);
    expect(segmentBytes + activations + GIBIBYTE).toBeLessThan(0.95 * free);
    expect(segmentBytes).toBeGreaterThan(free / 2);
  });

  test("what the user allows counts, not what is free", () => {
    const { segmentBytes } = plan({ memory: 20 * GIBIBYTE, freeDeviceMemory: 80 * GIBIBYTE });
    expect(segmentBytes).toBeLessThan(20 * GIBIBYTE);
    expect(segmentBytes).toBeGreaterThan(10 * GIBIBYTE);
  });

  test("a batch gets smaller before the weights get less than half", () => {
    const sizes = [80, 16, 8, 4, 2.5].map((gibibytes) => plan({ freeDeviceMemory: gibibytes * GIBIBYTE }).batchTokens);
    expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
    expect(sizes[0]).toBe(most);
    expect(sizes.at(-1)).toBeLessThan(most);
    expect(sizes.every(Number.isInteger)).toBe(true);
    expect(sizes.at(-1)).toBeGreaterThanOrEqual(512);
  });

  test("a device that is nearly full still gets a plan: a layer at a time, in small batches", () => {
    expect(plan({ freeDeviceMemory: 0 })).toMatchObject({ segmentBytes: 1, batchTokens: 512 });
  });

  test("more memory never gives smaller batches", () => {
    const plans = Array.from({ length: 160 }, (_, half) => plan({ freeDeviceMemory: (half / 2) * GIBIBYTE }));
    const batches = plans.map(({ batchTokens }) => batchTokens);
    expect(batches).toEqual(batches.toSorted((a, b) => a - b));
  });

  test("a tiny model has the largest batches", () => {
    expect(plan({ freeDeviceMemory: 8 * GIBIBYTE }, tiny).batchTokens).toBe(wanted);
  });
});

describe("what is computed in depends on the provider and on how weights are stored", () => {
  test.each<[checkpoint: string, stored: StoredType]>([
    ["llama-gqa", "BF16"],
    ["llama-f16", "F16"],
    ["llama-f32", "F32"],
  ])("%s is stored as %s", async (name, stored) => {
    const opened = await openCheckpoint(goldenFolder(name));
    expect(storedTypeOf(opened, describeModel(opened.config, opened.tensors))).toBe(stored);
  });

  test.each<[ProviderName, Record<StoredType, ComputeType>, wide: ComputeType]>([
    ["cuda", { BF16: "bfloat16", F16: "float16", F32: "bfloat16" }, "bfloat16"],
    ["webgpu", { BF16: "float16", F16: "float16", F32: "float16" }, "float32"],
    ["coreml", { BF16: "float16", F16: "float16", F32: "float16" }, "float32"],
    ["dml", { BF16: "float16", F16: "float16", F32: "float16" }, "float32"],
    ["cpu", { BF16: "float32", F16: "float32", F32: "float32" }, "float32"],
  ])("%s: %j, and where that is too narrow %s", async (provider, types, wide) => {
    for (const [dtype, type] of Object.entries(types)) {
      const embedding = checkpoint.tensors.get(tiny.embedding.weight);
      if (embedding === undefined) throw new Error("no embedding");
      const stored: Checkpoint = {
        ...checkpoint,
        tensors: new Map([[tiny.embedding.weight, { ...embedding, dtype }]]),
      };
      expect(planCompute({ provider, checkpoint: stored, decoder: tiny }).arithmetic.elementType).toBe(type);
    }
    expect(PROVIDERS[provider].wideArithmetic.elementType).toBe(wide);
  });
});

test.each<[stored: StoredType, computedIn: ComputeType[], warned: boolean]>([
  ["F32", ["float32"], false],
  ["F32", ["bfloat16"], true],
  ["F32", ["float16", "float32"], true],
  ["F32", [], false],
  ["BF16", ["float16"], false],
  ["F16", ["bfloat16"], false],
])("weights in %s that were computed with in %j: a warning is %s", (stored, computedIn, warned) => {
  const expected = warned ? [expect.stringMatching(/^The weights are float32, .* in b?float16; --provider cpu/)] : [];
  expect(narrowingWarnings(stored, computedIn)).toEqual(expected);
});

describe("where layers keep a state for each prompt", () => {
  const GOLDEN = "qwen3_next-interval-dense-bias";
  /** The heads of Qwen3-Next-80B: a state is 2 MiB. */
  const STATE_BYTES = 32 * 128 * 128 * 4;

  async function hybrid() {
    const opened = await openCheckpoint(goldenFolder(GOLDEN));
    const decoder = withBlocks(describeModel(opened.config, opened.tensors), (block) =>
      block.kind === "gated-delta-net" ? { ...block, keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128 } : block,
    );
    return { checkpoint: opened, decoder };
  }

  test("a batch has so few prompts that the states fit beside its activations, however short they are", async () => {
    const { decoder } = await hybrid();
    expect(mostRows(decoder, { batchTokens: 1024 }) * STATE_BYTES).toBeLessThanOrEqual(32 * 2 ** 20);
    expect(mostRows(decoder, { batchTokens: 1 })).toBe(1);
  });

  test("they count as activations of a device", async () => {
    const request = { provider: "cuda", ...(await hybrid()), memory: 8 * GIBIBYTE } as const;
    const { segmentBytes, batchTokens } = planCompute(request);
    const states = mostRows(request.decoder, { batchTokens }) * STATE_BYTES;
    const activations = batchTokens * 4 * (16 * 128 + 2 * 32 * 128);
    expect(segmentBytes + states + activations + GIBIBYTE).toBeLessThan(request.memory);
  });

  test("elsewhere, a batch has any number of prompts", () => {
    expect(mostRows(tiny, { batchTokens: 1024 })).toBe(Number.POSITIVE_INFINITY);
  });
});
