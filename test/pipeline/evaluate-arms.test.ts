// The forward pass that verifies, held against transformers with a cache that rounds (test/golden/verify.json), and what
// arms must have in common.

import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, InterruptedError } from "../../src/errors.js";
import type { CacheRounding, Side } from "../../src/graphs/kv-cache.js";
import { FLOAT8_CODES, type Float8CodeName } from "../../src/numerics/float8.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import { type EvaluatedArm, type EvaluateRequest, evaluateArms } from "../../src/pipeline/evaluate-arms.js";
import { copyGolden, poke, readGolden } from "../helpers/golden-checkpoints.js";
import { someOf } from "../helpers/how-much.js";

const SIDES = ["k", "v"] as const;

interface GoldenArm {
  readonly format: "float32" | "bfloat16" | Float8CodeName;
  readonly scales?: Readonly<Record<Side, readonly number[]>>;
  readonly nll: readonly number[];
  readonly kl?: readonly number[];
  readonly top: readonly number[];
  readonly layers: readonly Readonly<Record<Side, Readonly<Record<GoldenSum, number>>>>[];
}

type GoldenSum = "saturated" | "signal" | "noise" | "absmax";
type ArmName = "exact" | "16-bit" | "e4m3fn" | "e4m3fn at 1" | "e4m3fnuz" | "e5m2";

interface GoldenCheckpoint {
  readonly folder: string;
  readonly windows: readonly (readonly number[])[];
  readonly arms: Readonly<Record<ArmName, GoldenArm>>;
}

const { checkpoints: CHECKPOINTS } = readGolden<{ checkpoints: GoldenCheckpoint[] }>("verify.json");
const ARM_NAMES = ["exact", "16-bit", "e4m3fn", "e4m3fn at 1", "e4m3fnuz", "e5m2"] as const;

function roundingOf({ format, scales }: GoldenArm): CacheRounding {
  if (format === "float32" || format === "bfloat16") return { elementType: format, largest: Number.MAX_VALUE };
  return { elementType: format, largest: FLOAT8_CODES[format].largest, ...(scales !== undefined && { scales }) };
}

function goldenOf(name: string): GoldenCheckpoint {
  const found = CHECKPOINTS.find(({ folder }) => folder.endsWith(name));
  if (found === undefined) throw new Error(`verify.json has no ${name}`);
  return found;
}

async function requestOf({ folder, windows, arms }: GoldenCheckpoint): Promise<EvaluateRequest> {
  const checkpoint = await openCheckpoint(fileURLToPath(new URL(`../../${folder}`, import.meta.url)));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const end = describeModelEnd(checkpoint.tensors, decoder);
  const plan = planCompute({ provider: "cpu", checkpoint, decoder });
  return {
    ...{ checkpoint, decoder, end, windows, plan },
    roundings: ARM_NAMES.map((name) => roundingOf(arms[name])),
    arms: ARM_NAMES.map((_, rounding) => cacheSites(decoder).map(() => rounding)),
  };
}

async function armsOf(request: EvaluateRequest): Promise<readonly EvaluatedArm[]> {
  return (await evaluateArms(request)).arms;
}

const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, x) => sum + x, 0) / values.length;
const at = (values: ArrayLike<number> | undefined, index: number) => values?.[index] ?? Number.NaN;

function largestDifference(found: ArrayLike<number> | undefined, expected: readonly number[]): number {
  expect(found).toHaveLength(expected.length);
  return Math.max(...expected.map((value, index) => Math.abs(at(found, index) - value)));
}

/**
 * Rounding is not continuous: where two implementations differ in the last bit of float32, a number halfway between two
 * codes may go the other way, and with it a few predictions. Limits are about three times what was found: 2e-5 nats per
 * position of the exact arm (two attention kernels of PyTorch differ by as much), 1e-5 nats in the mean of the others.
 * There are many more ties in bfloat16, whose noise is small, so shares of that are rounder.
 */
const LIMITS = { exactNll: 6e-5, exactMeanNll: 2e-6, nll: 5e-3, meanNll: 4e-5, leastKl: 3e-8, signal: 3e-5 } as const;
const SHARES = {
  bfloat16: { meanKl: 6e-3, noise: 1e-2, absmax: 3e-4 },
  float8: { meanKl: 1e-4, noise: 5e-5, absmax: 3e-6 },
} as const;

const PREDICTIONS = CHECKPOINTS.flatMap((golden) =>
  (["fused", "written-out"] as const).map((attention) => [golden.folder, attention, golden] as const),
);
/** Written out, attention is that of the same golden: one that has a window is enough. */
const PREDICTED = someOf(
  PREDICTIONS,
  ([folder, attention]) => attention === "fused" || folder.endsWith("qwen3-sliding"),
);

describe.each(PREDICTED)("%s predicts what transformers predicts, attention %s", (_folder, attention, golden) => {
  const evaluated = requestOf(golden).then(({ plan, ...request }) =>
    armsOf({ ...request, plan: { ...plan, arithmetic: { ...plan.arithmetic, attention } } }),
  );

  test.each(ARM_NAMES)("with the cache %s: log-likelihoods, divergences, top tokens", async (name) => {
    const { positions } = (await evaluated)[ARM_NAMES.indexOf(name)] ?? {};
    const { nll, kl, top } = golden.arms[name];
    const isExact = name === "exact";
    const nlls = positions?.negativeLogLikelihood ?? [];
    expect(largestDifference(nlls, nll)).toBeLessThan(isExact ? LIMITS.exactNll : LIMITS.nll);
    expect(Math.abs(mean(nlls) - mean(nll))).toBeLessThan(isExact ? LIMITS.exactMeanNll : LIMITS.meanNll);
    const divergences = positions?.divergence ?? [];
    if (kl === undefined) expect(divergences).toEqual(new Float64Array(nll.length));
    else {
      const share = name === "16-bit" ? SHARES.bfloat16.meanKl : SHARES.float8.meanKl;
      expect(mean(kl)).toBeGreaterThan(LIMITS.leastKl);
      expect(Math.abs(mean(divergences) - mean(kl))).toBeLessThan(LIMITS.leastKl + share * mean(kl));
    }
    // A token in a near-tie with another.
    expect(top.filter((token, position) => token !== at(positions?.topToken, position)).length).toBeLessThan(2);
  });

  test.each(ARM_NAMES)("with the cache %s: what it lost of K and V, layer by layer", async (name) => {
    const { layers = [] } = (await evaluated)[ARM_NAMES.indexOf(name)] ?? {};
    const tokens = golden.windows.flat().length;
    const shares = name === "16-bit" || name === "exact" ? SHARES.bfloat16 : SHARES.float8;
    expect(layers).toHaveLength(golden.arms[name].layers.length);
    for (const [layer, expected] of golden.arms[name].layers.entries()) {
      for (const side of SIDES) {
        const found = layers[layer]?.[side];
        const what = `layer ${layer}, ${side}`;
        const ratio = (sum: GoldenSum) => (found?.[sum] ?? Number.NaN) / expected[side][sum];
        expect((found?.elements ?? Number.NaN) % tokens, what).toBe(0);
        expect(Math.abs((found?.saturated ?? Number.NaN) - expected[side].saturated), what).toBeLessThan(2);
        expect(Math.abs(ratio("signal") - 1), what).toBeLessThan(LIMITS.signal);
        expect(Math.abs(ratio("absmax") - 1), what).toBeLessThan(shares.absmax);
        if (name === "exact") expect(found, what).toMatchObject({ noise: 0, saturated: 0, flushed: 0 });
        else expect(Math.abs(ratio("noise") - 1), what).toBeLessThan(shares.noise);
      }
    }
  });

  test("the golden scales are small enough that the largest values of every layer saturate", () => {
    for (const layer of golden.arms.e4m3fn.layers) {
      for (const side of SIDES) expect(layer[side].saturated).toBeGreaterThan(0);
    }
  });
});

const EXACT = ARM_NAMES.indexOf("exact");
const FP8 = ARM_NAMES.indexOf("e4m3fn");
const AT_1 = ARM_NAMES.indexOf("e4m3fn at 1");

// The last layers of gemma4_text read the caches of earlier ones.
const WITH_ARMS = ["llama-gqa", "qwen3-sliding", "gemma4_text-e-model-bare"];
describe.each(someOf(WITH_ARMS, (name) => name !== "qwen3-sliding"))("arms of %s", (name) => {
  const golden = goldenOf(name);
  const request = requestOf(golden);
  const layers = golden.arms.exact.layers.map((_, layer) => layer);
  const uniform = (rounding: number) => layers.map(() => rounding);
  const evaluate = async (
    arms: readonly (readonly number[])[],
    { segmentBytes, ...more }: Partial<EvaluateRequest & Pick<ComputePlan, "segmentBytes">> = {},
  ): Promise<readonly EvaluatedArm[]> => {
    const { plan, ...others } = await request;
    const changed = { ...plan, ...(segmentBytes !== undefined && { segmentBytes }) };
    return armsOf({ ...others, plan: changed, arms, ...more });
  };

  test("that keep the same are the same, bit for bit, wherever they stand", async () => {
    const [exact, first, second, , third] = await evaluate([EXACT, FP8, FP8, AT_1, FP8].map(uniform));
    expect(second).toEqual(first);
    expect(third).toEqual(first);
    expect(first?.positions).not.toEqual(exact?.positions);
  });

  test("like the baseline diverge from it nowhere", async () => {
    const [, same] = await evaluate([FP8, FP8, AT_1].map(uniform));
    expect(same?.positions.divergence).toEqual(new Float64Array(golden.arms.exact.nll.length));
  });

  test("do not depend on how many layers are in memory at a time", async () => {
    const arms = [EXACT, FP8, AT_1].map(uniform);
    const together = await evaluate(arms, { segmentBytes: 2 ** 30 });
    expect(await evaluate(arms, { segmentBytes: 1 })).toEqual(together);
  });

  test("do not depend on the arms beside them", async () => {
    const [, among] = await evaluate([EXACT, FP8, AT_1].map(uniform));
    const [, alone] = await evaluate([EXACT, FP8].map(uniform));
    expect(alone?.layers).toEqual(among?.layers);
    const nll = (arm: EvaluatedArm | undefined) => [...(arm?.positions.negativeLogLikelihood ?? [])];
    // The head's matrix product has more rows with more arms, and cuts its blocks elsewhere.
    expect(largestDifference(nll(alone), nll(among))).toBeLessThan(LIMITS.exactNll);
  });

  test.each(layers)("with FP8 in layer %d alone differ from the baseline from there on only", async (fp8) => {
    const mixed = layers.map((layer) => (layer === fp8 ? FP8 : EXACT));
    for (const segmentBytes of [1, 2 ** 30]) {
      const [baseline, arm] = await evaluate([uniform(EXACT), mixed], { segmentBytes });
      for (const layer of layers) {
        for (const side of SIDES) {
          const [found, before] = [arm?.layers[layer]?.[side], baseline?.layers[layer]?.[side]];
          if (layer < fp8) expect(found).toEqual(before);
          if (layer === fp8) expect(found).toMatchObject({ signal: before?.signal, absmax: before?.absmax });
          if (layer > fp8) expect(found?.signal).not.toBe(before?.signal);
          if (layer === fp8) expect(found?.noise).toBeGreaterThan(0);
          else expect(found).toMatchObject({ noise: 0, saturated: 0, flushed: 0 });
        }
      }
      expect(mean(arm?.positions.divergence ?? [])).toBeGreaterThan(1e-5);
    }
  });

  test("have values for windows in the order that these were given in", async () => {
    const { windows } = golden;
    const [forward] = await evaluate([uniform(FP8)]);
    const [backward] = await evaluate([uniform(FP8)], { windows: windows.toReversed() });
    const turned = [...(backward?.positions.negativeLogLikelihood ?? [])];
    const ofWindows = windows.toReversed().map(({ length }) => turned.splice(0, length - 1));
    const expected = ofWindows.toReversed().flat();
    expect(largestDifference(forward?.positions.negativeLogLikelihood, expected)).toBeLessThan(LIMITS.nll);
  });

  test("are counted as work done: progress never goes back and ends complete", async () => {
    const seen: number[] = [];
    await evaluate([EXACT, FP8, AT_1].map(uniform), { segmentBytes: 1, onProgress: ({ done }) => seen.push(done) });
    expect(seen.length).toBeGreaterThan(layers.length * 3);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBeCloseTo(1, 9);
  });

  test("end with InterruptedError when the run is aborted, before it and within", async () => {
    await expect(evaluate([uniform(FP8)], { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(InterruptedError);
    const abort = new AbortController();
    const seen: number[] = [];
    const onProgress = ({ done }: { readonly done: number }) => {
      seen.push(done);
      if (done > 0.3) abort.abort();
    };
    const run = evaluate([EXACT, FP8].map(uniform), { segmentBytes: 1, signal: abort.signal, onProgress });
    await expect(run).rejects.toBeInstanceOf(InterruptedError);
    expect(seen.at(-1)).toBeLessThan(1);
  });
});

describe("what is not finite is an error that says where", () => {
  test.each([
    ["a NaN in the weight of K", "model.layers.1.self_attn.k_proj.weight", "Layer 1: K"],
    ["a NaN in the weight of V", "model.layers.2.self_attn.v_proj.weight", "Layer 2: V"],
    ["a NaN behind the last K", "model.layers.2.mlp.down_proj.weight", "logits are not finite"],
    ["a NaN in the last norm", "model.norm.weight", "logits are not finite"],
    ["a NaN in the head", "lm_head.weight", "logits are not finite"],
  ])("%s", async (_rule, tensor, message) => {
    const folder = await copyGolden("llama-gqa");
    await poke(folder, tensor, 7, 0x7fc0);
    const checkpoint = await openCheckpoint(folder);
    const error = await evaluateArms({ ...(await requestOf(goldenOf("llama-gqa"))), checkpoint }).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toHaveProperty("message", expect.stringContaining(message));
  });
});
