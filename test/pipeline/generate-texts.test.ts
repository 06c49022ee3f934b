// Texts generated through caches of one and of two bytes per element: each token is the one that teacher forcing with the
// same cache predicts, whatever the attention, and whether token by token through codes or in a loop inside the graph. On
// the CPU the loop's cache is float32, which holds every number that a narrower one would.

import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { blockWithoutStep } from "../../src/architectures/block-facts.js";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, InterruptedError } from "../../src/errors.js";
import type { CodedRounding } from "../../src/graphs/decode-step.js";
import type { Side } from "../../src/graphs/kv-cache.js";
import { FLOAT8_CODES, type Float8CodeName } from "../../src/numerics/float8.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { evaluateArms } from "../../src/pipeline/evaluate-arms.js";
import {
  type CacheGeneration,
  type GenerateProgress,
  type GenerateRequest,
  generateTexts,
} from "../../src/pipeline/generate-texts.js";
import type { GenerationWay } from "../../src/pipeline/generator.js";
import { loopObstacle } from "../../src/pipeline/loop-obstacle.js";
import { PROVIDERS } from "../../src/runtime/providers.js";
import {
  configOf,
  copyGolden,
  expectedOf,
  GOLDEN_NAMES,
  goldenFolder,
  poke,
  readGolden,
} from "../helpers/golden-checkpoints.js";
import { someOf } from "../helpers/how-much.js";

const EXAMPLE = fileURLToPath(new URL("../../examples/tiny-llama", import.meta.url));
const MAX_NEW_TOKENS = 24;
const LARGEST_BFLOAT16 = (2 - 2 ** -7) * 2 ** 127;

const WAYS: readonly GenerationWay[] = ["steps", "loop"];

async function requestOf(
  folder: string,
  prompts: GenerateRequest["prompts"],
  way: GenerationWay = "steps",
): Promise<GenerateRequest> {
  const checkpoint = await openCheckpoint(folder);
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const end = describeModelEnd(checkpoint.tensors, decoder);
  const scales = (first: number) => decoder.layers.map((_, layer) => Math.fround(first * (1 + layer / 7)));
  const caches: CodedRounding[] = [
    { elementType: "bfloat16", largest: LARGEST_BFLOAT16 },
    { elementType: "float8_e4m3fn", largest: 448, scales: { k: scales(0.013), v: scales(0.0037) } },
  ];
  const plan = { ...planCompute({ provider: "cpu", checkpoint, decoder }), segmentBytes: 2 ** 30 };
  return { checkpoint, decoder, end, prompts, caches, way, plan, maxNewTokens: MAX_NEW_TOKENS, endIds: [] };
}

async function cachesOf(request: GenerateRequest): Promise<readonly CacheGeneration[]> {
  return (await generateTexts(request)).caches;
}

/** What evaluateArms predicts after each token of prompt and continuation, where the continuation stands. */
async function teacherForced(request: GenerateRequest, generated: readonly CacheGeneration[]): Promise<number[][][]> {
  const { checkpoint, decoder, end } = request;
  const plan = planCompute({ provider: "cpu", checkpoint, decoder });
  const byCache: number[][][] = [];
  for (const [cache, { texts }] of generated.entries()) {
    const windows = request.prompts.map((prompt, index) => [...prompt, ...(texts[index]?.tokenIds ?? [])]);
    const arms = [decoder.layers.map(() => cache)];
    const evaluation = await evaluateArms({ checkpoint, decoder, end, windows, plan, roundings: request.caches, arms });
    const [arm] = evaluation.arms;
    let start = 0;
    byCache.push(
      windows.map((window, index) => {
        const first = start + (request.prompts[index]?.length ?? 0) - 1;
        start += window.length - 1;
        return [...(arm?.positions.topToken.slice(first, start) ?? [])];
      }),
    );
  }
  return byCache;
}

const idsOf = (generated: readonly CacheGeneration[]) =>
  generated.map(({ texts }) => texts.map(({ tokenIds }) => [...tokenIds]));

/**
 * How many elements of nested lists of the same shape differ. One may where results of other kernels are compared: rounding
 * is not continuous, so the last bit of a number halfway between two codes can decide between two tokens in a near-tie.
 */
function differences(found: unknown, expected: unknown): number {
  if (!Array.isArray(found) || !Array.isArray(expected)) return found === expected ? 0 : 1;
  expect(found).toHaveLength(expected.length);
  return found.reduce((sum: number, element, index) => sum + differences(element, expected[index]), 0);
}

/** Whether there are logits, and blocks that a step computes. */
async function canGenerate(name: string): Promise<boolean> {
  const { config, tensors } = await openCheckpoint(goldenFolder(name));
  try {
    const decoder = describeModel(config, tensors);
    describeModelEnd(tensors, decoder);
    return blockWithoutStep(decoder.layers) === undefined;
  } catch {
    return false;
  }
}

const WITH_HEAD: string[] = [];
for (const name of GOLDEN_NAMES) if (await canGenerate(name)) WITH_HEAD.push(name);

/** Short enough that dynamic RoPE turns as in training, longer than the shortest window; and a few tokens. */
const promptsOf = (name: string) => [1, 4].map((index) => (expectedOf(name).token_ids[index] ?? []).slice(0, 40));

/** Families with goldens for each setting that all others share. */
const IN_FULL = ["llama", "mistral", "qwen2", "qwen3"];
/**
 * Of what steps do otherwise than a whole pass: rotations, learned positions, windows, sinks, soft caps, growing queries, other
 * heads, experts.
 */
const ALSO = [
  ...[
    "cohere2",
    "falcon",
    "gemma2",
    "gemma4_text",
    "gpt2",
    "gpt_bigcode",
    "gpt_oss",
    "granite_swa",
    "hunyuan_v1_dense",
    "laguna",
    "llama4_text",
  ],
  ...["mimo_v2_flash", "ministral3", "olmo2", "opt", "phi3", "qwen3_moe", "stablelm"],
];
const typeOf = (name: string) => String(configOf(name).model_type);
const isLast = (name: string) =>
  !WITH_HEAD.slice(WITH_HEAD.indexOf(name) + 1).some((later) => typeOf(later) === typeOf(name));
const TRIED = someOf(
  WITH_HEAD.filter((name) => IN_FULL.includes(typeOf(name)) || (ALSO.includes(typeOf(name)) && isLast(name))),
  isLast,
);

/** A loop records the same blocks as a step: of other families the steps are tried. */
const BY_WAY = TRIED.flatMap((name) =>
  WAYS.filter((way) => way === "steps" || IN_FULL.includes(typeOf(name))).map((way) => ({ name, way })),
);

describe.each(BY_WAY)("$name, $way", ({ name, way }) => {
  test("each token is what teacher forcing predicts with the same cache, of all its heads' numbers per layer", async () => {
    const request = { ...(await requestOf(goldenFolder(name), promptsOf(name), way)), maxNewTokens: 8 };
    const generated = await cachesOf(request);
    expect(idsOf(generated).map((texts) => texts.map(({ length }) => length))).toEqual(
      request.caches.map(() => Array(2).fill(8)),
    );
    expect(differences(idsOf(generated), await teacherForced(request, generated))).toBeLessThan(2);

    // Heads as transformers caches them; how wide they are may differ by layer, and between K and V.
    const { absmax } = expectedOf(name);
    const perLayer = (bytes: number) =>
      cacheSites(request.decoder).map(
        ({ keyDim, valueDim }, site) => bytes * (absmax[site]?.k.length ?? Number.NaN) * (keyDim + valueDim),
      );
    const [bits16, fp8] = generated;
    expect(fp8).toMatchObject(
      way === "steps"
        ? { bytesPerToken: perLayer(1), storedType: "uint8" }
        : { bytesPerToken: perLayer(4), storedType: "float32" },
    );
    expect(bits16?.bytesPerToken).toEqual(perLayer(way === "steps" ? 2 : 4));
  });
});

test("most golden checkpoints have a head", () => expect(WITH_HEAD.length).toBeGreaterThan(25));

interface GoldenCache {
  readonly format: "bfloat16" | "float16" | Float8CodeName;
  readonly scales?: Readonly<Record<Side, readonly number[]>>;
  readonly tokens: readonly (readonly number[])[]; // [prompts][tokens]
}

interface GoldenTexts {
  readonly folder: string;
  readonly prompts: readonly (readonly number[])[];
  readonly caches: Readonly<Record<string, GoldenCache>>;
}

const { checkpoints: GOLDEN_TEXTS } = readGolden<{ checkpoints: GoldenTexts[] }>("generate.json");
/** The example, the other narrow type, a rotation by length, windows in some layers, q/k norms. */
const SHORTER = /tiny-llama|llama-f16|rope-dynamic|max-window-layers|qwen3-sliding/;
const TEXTS_TRIED = someOf(GOLDEN_TEXTS, ({ folder }) => SHORTER.test(folder));
const LARGEST = { bfloat16: LARGEST_BFLOAT16, float16: 65504 } as const;

describe.each(WAYS)("by %s", (way) => {
  test.each(TEXTS_TRIED)("$folder generates what transformers generates through the same caches", async (golden) => {
    const caches = Object.values(golden.caches).map(({ format, scales }): CodedRounding => {
      const largest = format === "bfloat16" || format === "float16" ? LARGEST[format] : FLOAT8_CODES[format].largest;
      return { elementType: format, largest, ...(scales !== undefined && { scales }) };
    });
    const folder = fileURLToPath(new URL(`../../${golden.folder}`, import.meta.url));
    const request = { ...(await requestOf(folder, golden.prompts, way)), caches };
    if (way === "loop" && loopObstacle({ ...request, arithmetic: request.plan.arithmetic }) !== undefined) {
      // Its prompts go beyond the positions that it was trained on.
      expect(golden.folder).toBe("test/golden/checkpoints/llama-rope-dynamic");
      return;
    }
    const generated = await cachesOf(request);
    const expected = Object.values(golden.caches).map(({ tokens }) => tokens);
    expect(expected.flat()).toHaveLength(12);
    // From a token in a near-tie on, a text is another one: texts are compared whole.
    const lines = (texts: readonly (readonly (readonly number[])[])[]) =>
      texts.map((ids) => ids.map((text) => text.join()));
    expect(differences(lines(idsOf(generated)), lines(expected))).toBeLessThan(2);
  });

  describe("the example, which was trained", () => {
    const ids = Array.from({ length: 700 }, (_, index) => 6 + ((index * 7919) % 2000));

    test("reads a long prompt in several steps as in one, and speaks as teacher forcing says", async () => {
      const request = await requestOf(EXAMPLE, [ids], way);
      const generated = await cachesOf(request);
      expect(differences(idsOf(generated), await teacherForced(request, generated))).toBeLessThan(2);
    });

    test.runIf(way === "steps")(
      "says the same from one session as from a session for each layer and slices of the head",
      async () => {
        const request = await requestOf(EXAMPLE, [ids.slice(0, 30)], way);
        const generated = await cachesOf(request);
        expect(idsOf(await cachesOf({ ...request, plan: { ...request.plan, segmentBytes: 1 } }))).toEqual(
          idsOf(generated),
        );
        // Both slices of the vocabulary are chosen from: 2,304 tokens in halves.
        expect(
          new Set(
            idsOf(generated)
              .flat(2)
              .map((id) => id < 1152),
          ).size,
        ).toBe(2);
      },
    );

    test("stops at a token that ends texts, and the cache holds what was read before it", async () => {
      const request = await requestOf(EXAMPLE, [ids.slice(0, 9)], way);
      const [free] = await cachesOf(request);
      const tokens = free?.texts[0]?.tokenIds ?? [];
      const end = tokens[5] ?? Number.NaN;
      const first = tokens.indexOf(end);
      const [stopped] = await cachesOf({ ...request, endIds: [end, 2303] });
      expect(stopped?.texts).toEqual([{ tokenIds: tokens.slice(0, first + 1), endedBy: "end-token" }]);
      expect(free?.texts[0]?.endedBy).toBe("limit");
    });

    test("says the same to the same prompt, whatever was asked between", async () => {
      const [asked, other] = [ids.slice(0, 9), ids.slice(20, 60)];
      for (const { texts } of await cachesOf(await requestOf(EXAMPLE, [asked, other, asked], way))) {
        expect(texts[2]).toEqual(texts[0]);
        expect(texts[1]?.tokenIds).not.toEqual(texts[0]?.tokenIds);
      }
    });

    test("counts every token of every text as progress", async () => {
      const seen: GenerateProgress[] = [];
      const request = await requestOf(EXAMPLE, [ids.slice(0, 4), ids.slice(4, 20)], way);
      await cachesOf({ ...request, maxNewTokens: 5, onProgress: (progress) => seen.push(progress) });
      expect(seen.at(-1)).toEqual({ texts: 4, ofTexts: 4, tokens: 20 });
      expect(seen.map(({ tokens }) => tokens)).toEqual(seen.map(({ tokens }) => tokens).toSorted((a, b) => a - b));
    });

    test("ends with InterruptedError when the run is aborted, before it and within", async () => {
      const request = await requestOf(EXAMPLE, [ids.slice(0, 4)], way);
      await expect(cachesOf({ ...request, signal: AbortSignal.abort() })).rejects.toBeInstanceOf(InterruptedError);
      const abort = new AbortController();
      const run = cachesOf({ ...request, signal: abort.signal, onProgress: () => abort.abort() });
      await expect(run).rejects.toBeInstanceOf(InterruptedError);
    });
  });

  test.each([
    ["weight of K", "model.layers.1.self_attn.k_proj.weight"],
    ["last norm", "model.norm.weight"],
  ])("a NaN in the %s is a CheckpointError, not a text", async (_where, tensor) => {
    const folder = await copyGolden("llama-gqa");
    await poke(folder, tensor, 7, 0x7fc0);
    await expect(cachesOf(await requestOf(folder, [[3, 4, 5]], way))).rejects.toBeInstanceOf(CheckpointError);
  });

  test("what float16 does not hold is generated in float32, and a warning says so", async () => {
    const folder = await copyGolden("llama-mha");
    // 2¹⁷ in bfloat16: float16 ends at 65504.
    await poke(folder, "model.layers.1.mlp.down_proj.weight", 5, 0x4800);
    const wide = await requestOf(folder, [[3, 4, 5]], way);
    // The CPU has the kernels of WebGPU's arithmetic, too, and keeps a cache of float16.
    const plan = { ...wide.plan, arithmetic: PROVIDERS.webgpu.arithmetic.F16 };
    const caches = [{ elementType: "float16", largest: 65504 }] as const;
    const found = await generateTexts({ ...wide, caches, plan });
    expect(found.warnings).toEqual([expect.stringMatching(/beyond the range of float16.* in float32 instead/)]);
    expect(idsOf(found.caches)).toEqual(idsOf(await cachesOf({ ...wide, caches })));
  });
});
