// What is measured is what transformers writes into its KV cache, however the work is cut into pieces.

import { mkdir, readdir, rename, symlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, InterruptedError, PromptDataError } from "../../src/errors.js";
import type { LayerRange, SideRange } from "../../src/numerics/ranges.js";
import type { MeasureProgress } from "../../src/pipeline/measure-ranges.js";
import {
  configOf,
  copyGolden,
  DIALECTS,
  expectedOf,
  GOLDEN_NAMES,
  goldenFolder,
  largestDeviation,
  layersWithCache,
  measureFolder,
  poke,
  temporaryFolder,
} from "../helpers/golden-checkpoints.js";
import { oneOfEach, WITH_NEW_SETTINGS } from "../helpers/golden-settings.js";
import { someOf } from "../helpers/how-much.js";

/** Of transformers, whose sums run in another order. */
const TOLERANCE_OF_REFERENCE = 1e-5;
/** Of the same run cut otherwise: kernels choose their blocks by the shape of a batch. */
const TOLERANCE_OF_CUTS = 2e-6;
const BFLOAT16_NAN = 0x7fc0;
const BFLOAT16_INFINITY = 0x7f80;
const SIDES = ["k", "v"] as const;

function expectSameRanges(
  found: readonly LayerRange[],
  expected: readonly LayerRange[],
  figures: readonly (keyof SideRange)[] = ["absmax", "perHead", "perPrompt"],
): void {
  expect(found.map(({ layer }) => layer)).toEqual(expected.map(({ layer }) => layer));
  for (const [layer, range] of expected.entries()) {
    for (const side of SIDES) {
      for (const figure of figures) {
        const deviation = largestDeviation([found[layer]?.[side][figure] ?? []].flat(), [range[side][figure]].flat());
        expect(deviation, `layer ${layer}, ${side} ${figure}`).toBeLessThanOrEqual(TOLERANCE_OF_CUTS);
      }
    }
  }
}

describe("K and V absmax per cache and head are those of transformers", () => {
  test.each(someOf(GOLDEN_NAMES, oneOfEach(GOLDEN_NAMES)))("%s", async (name) => {
    expectThoseOfTransformers(name, await measureFolder(goldenFolder(name), expectedOf(name).token_ids));
  });
});

describe.each(DIALECTS.filter((dialect) => dialect !== "config.json"))("%s describes the same decoder", (dialect) => {
  test.each(GOLDEN_NAMES)("%s", async (name) => {
    const { config, tensors } = await openCheckpoint(goldenFolder(name));
    // Layers that predict further tokens are none of the decoder's, and only some dialects count them.
    const decoder = { ...describeModel(config, tensors), nextTokenLayers: undefined };
    expect({ ...describeModel(configOf(name, dialect), tensors), nextTokenLayers: undefined }).toEqual(decoder);
  });
});

/** Of each family the last golden, which has most of its settings; all of those that have one setting each. */
const WRITTEN_OUT = GOLDEN_NAMES.filter((name, at) => {
  const isLast = !GOLDEN_NAMES.slice(at + 1).some((later) => configOf(later).model_type === configOf(name).model_type);
  return isLast || /^(llama|mistral|qwen2|qwen3)-/.test(name);
});

describe("they are the same with attention written out", () => {
  test.each(someOf(WRITTEN_OUT, (name) => WITH_NEW_SETTINGS.has(name)))("%s", async (name) => {
    const options = { arithmetic: { attention: "written-out" } } as const;
    expectThoseOfTransformers(name, await measureFolder(goldenFolder(name), expectedOf(name).token_ids, options));
  });
});

function expectThoseOfTransformers(name: string, ranges: readonly LayerRange[]): void {
  const { absmax } = expectedOf(name);
  const layers = layersWithCache(name);
  expect(ranges.map(({ layer }) => layer)).toEqual(layers);
  for (const [site, heads] of absmax.entries()) {
    for (const side of SIDES) {
      const { perHead = [], absmax: total = Number.NaN } = ranges[site]?.[side] ?? {};
      const where = `layer ${layers[site]} ${side}`;
      expect(largestDeviation(perHead, heads[side]), where).toBeLessThan(TOLERANCE_OF_REFERENCE);
      expect(total).toBe(Math.max(...perHead));
    }
  }
}

/** Of each hybrid the first golden: tokens see each other without a cache, and padding must not reach them. */
const HYBRIDS = GOLDEN_NAMES.filter((name, at) => {
  const config = configOf(name);
  const isFirst = at === 0 || configOf(GOLDEN_NAMES[at - 1] ?? name).model_type !== config.model_type;
  return isFirst && Object.keys(config).some((key) => /^(mamba_|linear_|conv_L_cache)/.test(key));
});

// A window, q/k norms and four layers; rotation that depends on the length of the prompt; embeddings per layer; streams;
// learned positions; queries that grow; chunks and experts that scale their input; experts alone; every hybrid.
const CUT = [
  ...["qwen3-sliding", "llama-rope-dynamic", "gemma4_text-e-model", "gemma3n_text-shared"],
  ...["opt-plain", "ministral3-window", "llama4_text-chunked", "qwen3_moe-normalized"],
  ...HYBRIDS,
];
/** A window, a rotation by length, embeddings per layer, experts; a recurrence of each kind. */
const CUT_FIRST = new Set([
  ...["qwen3-sliding", "llama-rope-dynamic", "gemma4_text-e-model", "qwen3_moe-normalized"],
  ...["bamba-bias", "jamba-dense-bias", "lfm2-adjusted", "olmo_hybrid-plain"],
]);

describe.each(someOf(CUT, (name) => CUT_FIRST.has(name)))("the ranges of %s are the same", (name) => {
  const folder = goldenFolder(name);
  const { token_ids: prompts } = expectedOf(name);

  test("whether all layers are one segment or each is its own", async () => {
    const apart = await measureFolder(folder, prompts, { segmentBytes: 1 });
    expectSameRanges(apart, await measureFolder(folder, prompts, { segmentBytes: 2 ** 30 }));
  });

  test("whether prompts share a batch or run alone: the maxima of a prompt are its own", async () => {
    const together = await measureFolder(folder, prompts);
    for (const [index, prompt] of prompts.entries()) {
      const ofPrompt = together.map(({ layer, k, v }) => ({
        layer,
        k: { absmax: k.perPrompt[index] ?? Number.NaN, perHead: [], perPrompt: [k.perPrompt[index] ?? Number.NaN] },
        v: { absmax: v.perPrompt[index] ?? Number.NaN, perHead: [], perPrompt: [v.perPrompt[index] ?? Number.NaN] },
      }));
      expectSameRanges(await measureFolder(folder, [prompt]), ofPrompt, ["absmax", "perPrompt"]);
    }
  });

  test("whatever the order of the prompts", async () => {
    const forward = await measureFolder(folder, prompts);
    const backward = await measureFolder(folder, prompts.toReversed());
    const turned = backward.map(({ layer, k, v }) => ({
      layer,
      k: { ...k, perPrompt: k.perPrompt.toReversed() },
      v: { ...v, perPrompt: v.perPrompt.toReversed() },
    }));
    expectSameRanges(turned, forward);
  });

  test("when the prompts fill many batches", async () => {
    const copies = 12;
    const many = Array.from({ length: copies }, () => prompts).flat();
    const once = await measureFolder(folder, prompts);
    const repeated = await measureFolder(folder, many, { segmentBytes: 1 });
    expectSameRanges(repeated, once, ["absmax", "perHead"]);
    const perPrompt = (side: SideRange) => ({
      ...side,
      perPrompt: Array.from({ length: copies }, () => side.perPrompt).flat(),
    });
    const expected = once.map(({ layer, k, v }) => ({ layer, k: perPrompt(k), v: perPrompt(v) }));
    expectSameRanges(repeated, expected, ["perPrompt"]);
  });
});

test("padding is never measured, even where token 0, which pads, has the larger values", async () => {
  const folder = goldenFolder("llama-gqa");
  const vocabulary = Array.from({ length: 128 }, (_, token) => [token]);
  // V of layer 0 depends on the token alone, so a measured padding would show.
  const [alone] = await measureFolder(folder, vocabulary);
  const loudness = alone?.v.perPrompt ?? [];
  const quiet = loudness.indexOf(Math.min(...loudness));
  expect(loudness[quiet]).toBeLessThan((loudness[0] ?? 0) / 2);

  const [padded] = await measureFolder(folder, [[quiet], Array.from({ length: 8 }, () => quiet)]);
  expect(padded?.v.perPrompt[0]).toBeCloseTo(loudness[quiet] ?? 0, 5);
});

describe("what is not finite is an error that names the layer", () => {
  const name = "llama-mha";
  const { token_ids } = expectedOf(name);
  /** In the middle of a head: the largest value of a row passes over a NaN there without a word. */
  const inRowFive = 5 * 48 + 7;
  test.each<[string, string, number, number, string]>([
    ["NaN in the weight of K", "layers.1.self_attn.k_proj", inRowFive, BFLOAT16_NAN, "Layer 1: K"],
    ["NaN in the weight of V", "layers.1.self_attn.v_proj", inRowFive, BFLOAT16_NAN, "Layer 1: V"],
    ["NaN in its first element", "layers.1.self_attn.k_proj", 0, BFLOAT16_NAN, "Layer 1: K"],
    ["NaN in the norm before K", "layers.1.input_layernorm", 7, BFLOAT16_NAN, "Layer 1: K"],
    ["NaN behind the last K of a layer", "layers.1.mlp.down_proj", inRowFive, BFLOAT16_NAN, "Layer 2: K"],
    ["NaN in the last layer", "layers.2.self_attn.v_proj", inRowFive, BFLOAT16_NAN, "Layer 2: V"],
    ["Inf in the weight of K", "layers.1.self_attn.k_proj", inRowFive, BFLOAT16_INFINITY, "Layer 1: K"],
    ["Inf in the weight of V", "layers.1.self_attn.v_proj", inRowFive, BFLOAT16_INFINITY, "Layer 1: V"],
  ])("%s", async (_rule, tensor, element, value, message) => {
    const folder = await copyGolden(name);
    await poke(folder, `model.${tensor}.weight`, element, value);
    // One prompt has no padding, which would make a NaN of an Inf.
    for (const prompts of [token_ids, token_ids.slice(0, 1)]) {
      const error = await measureFolder(folder, prompts).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CheckpointError);
      expect(error).toHaveProperty("message", expect.stringContaining(message));
    }
  });
});

describe("an aborted run ends with InterruptedError", () => {
  // Four batches: three prompts beyond the trained positions, and the two within them.
  const name = "llama-rope-dynamic";
  const { token_ids } = expectedOf(name);

  test("before the first segment", async () => {
    const seen: MeasureProgress[] = [];
    const signal = AbortSignal.abort();
    const run = measureFolder(goldenFolder(name), token_ids, { signal, onProgress: (progress) => seen.push(progress) });
    await expect(run).rejects.toBeInstanceOf(InterruptedError);
    expect(seen).toEqual([]);
  });

  test.each([
    ["between two batches of a segment", 130],
    ["between two segments", 130 + 90 + 65 + 64 + 40],
  ])("%s, without running the rest", async (_rule, tokens) => {
    const abort = new AbortController();
    const seen: number[] = [];
    const run = measureFolder(goldenFolder(name), token_ids, {
      segmentBytes: 1,
      signal: abort.signal,
      onProgress: ({ tokenLayersDone }) => {
        seen.push(tokenLayersDone);
        if (tokenLayersDone >= tokens) abort.abort();
      },
    });
    await expect(run).rejects.toBeInstanceOf(InterruptedError);
    expect(seen.at(-1)).toBe(tokens);
  });
});

test.each([1, 2 ** 30])(
  "progress never goes back and ends complete, with segments of %d bytes",
  async (segmentBytes) => {
    const { token_ids } = expectedOf("llama-rope-dynamic");
    const seen: MeasureProgress[] = [];
    await measureFolder(goldenFolder("llama-rope-dynamic"), token_ids, {
      segmentBytes,
      onProgress: (p) => seen.push(p),
    });

    const tokens = token_ids.reduce((sum, ids) => sum + ids.length, 0);
    expect(seen.length).toBeGreaterThan(2);
    for (const key of ["layersDone", "tokenLayersDone"] as const) {
      const values = seen.map((progress) => progress[key]);
      expect(values).toEqual(values.toSorted((a, b) => a - b));
    }
    expect(seen.at(-1)).toEqual({ layersDone: 3, layers: 3, tokenLayersDone: 3 * tokens, tokenLayers: 3 * tokens });
  },
);

test("a prompt that has more tokens than the model has learned positions is refused, and the message says how many", async () => {
  const run = measureFolder(goldenFolder("gpt2-plain"), [Array.from({ length: 65 }, (_, at) => at)]);
  await expect(run).rejects.toThrow(PromptDataError);
  await expect(run).rejects.toThrow(/has 65 tokens, and this model has learned 64 positions: .*--sequence-length 64/);
});

describe("shards may be symbolic links", () => {
  const name = "llama-sharded";
  const blobFolders: readonly [string, (index: number) => string][] = [
    ["into one folder elsewhere, as in the hub's cache", () => "blobs"],
    ["into a folder each, one inside another", (index) => ["a", "a/b", "a/b/c", "d", "..e"][index] ?? "f"],
  ];
  test.each(blobFolders)("%s", async (_rule, folderOf) => {
    const root = await temporaryFolder();
    const snapshot = await copyGolden(name);
    const shards = (await readdir(snapshot)).filter((file) => file.endsWith(".safetensors")).sort();
    expect(shards).toHaveLength(5);
    for (const [index, shard] of shards.entries()) {
      const blobs = join(root, folderOf(index));
      await mkdir(blobs, { recursive: true });
      await rename(join(snapshot, shard), join(blobs, `blob-${index}`));
      await symlink(join(blobs, `blob-${index}`), join(snapshot, shard));
    }
    const { token_ids } = expectedOf(name);
    expectSameRanges(await measureFolder(snapshot, token_ids), await measureFolder(goldenFolder(name), token_ids));
  });
});
