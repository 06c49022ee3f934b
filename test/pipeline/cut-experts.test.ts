// A mixture that is too large to be in memory whole: its experts come in several segments, down to one in each, and what is
// measured and predicted stays the same.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { blocksOf } from "../../src/architectures/description.js";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { residualsInMemory } from "../../src/graphs/cut-mixture.js";
import type { CacheRounding } from "../../src/graphs/kv-cache.js";
import type { SegmentPart } from "../../src/graphs/segment-parts.js";
import type { ExpertTokens } from "../../src/numerics/expert-tokens.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { evaluateArms } from "../../src/pipeline/evaluate-arms.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { planSegments } from "../../src/pipeline/segment-plan.js";
import { storedBytes } from "../../src/pipeline/weight-locations.js";
import { expectedOf, GOLDEN_NAMES, goldenFolder, readGolden } from "../helpers/golden-checkpoints.js";
import { WITH_NEW_SETTINGS } from "../helpers/golden-settings.js";
import { someOf } from "../helpers/how-much.js";

interface ExpertsGolden {
  readonly absmax: readonly Readonly<Record<"k" | "v", readonly number[]>>[]; // of heads, by cache
  readonly experts?: readonly ExpertTokens[];
}

const goldenOf = (name: string) => readGolden<ExpertsGolden>(`checkpoints/${name}/expected.json`);
const WITH_EXPERTS = GOLDEN_NAMES.filter((name) => (goldenOf(name).experts ?? []).length > 0);
const WHOLE = 2 ** 40;

async function openGolden(name: string) {
  const checkpoint = await openCheckpoint(goldenFolder(name));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const plan = planCompute({ provider: "cpu", checkpoint, decoder });
  const planFor = (layerBytes: number) => ({ ...plan, segmentBytes: layerBytes, layerBytes });
  const segmentsFor = (layerBytes: number) =>
    planSegments(decoder, { ...planFor(layerBytes), elementType: "float32" }, storedBytes(checkpoint), "layer");
  return { checkpoint, decoder, planFor, segmentsFor };
}

function expertsIn(part: SegmentPart): string[] {
  if (part.kind === "embedding" || part.kind === "keys-values") return [];
  const blocks = residualsInMemory(part).flatMap(({ branches }) => branches.map(({ block }) => block));
  const experts = blocks.flatMap((block) => (block.kind === "experts" ? block.experts : []));
  return experts.map(({ up }) => `${part.layer.index} ${JSON.stringify(up.weight)}`);
}

describe("with one expert in a segment, absmax and the tokens of experts are those of transformers", () => {
  test.each(someOf(WITH_EXPERTS, (name) => WITH_NEW_SETTINGS.has(name)))("%s", async (name) => {
    const { checkpoint, decoder, planFor, segmentsFor } = await openGolden(name);
    const counts = segmentsFor(1).map(({ parts }) => parts.flatMap(expertsIn).length);
    expect(Math.max(...counts)).toBe(1);
    const tokenIds = expectedOf(name).token_ids;
    const { ranges, experts } = await measureRanges({ checkpoint, decoder, tokenIds, plan: planFor(1) });
    const golden = goldenOf(name);
    // Behind the last cache nothing is computed.
    const last = cacheSites(decoder).at(-1)?.layer ?? 0;
    expect(experts).toEqual(golden.experts?.filter(({ layer }) => layer < last));
    for (const [site, { k, v }] of ranges.entries()) {
      for (const [side, { perHead }] of [["k", k] as const, ["v", v] as const]) {
        const expected = golden.absmax[site]?.[side] ?? [];
        const deviations = perHead.map((value, head) => Math.abs(value / (expected[head] ?? Number.NaN) - 1));
        expect(Math.max(...deviations), `cache ${site} ${side}`).toBeLessThan(1e-5);
      }
    }
  });
});

/** A shared expert; two branches in one residual; experts with biases in one tensor; blocks side by side. */
describe.each(["qwen2_moe-plain", "gemma4_text-moe", "gpt_oss-plain", "cohere2_moe-plain"])("%s", async (name) => {
  const { checkpoint, decoder, planFor, segmentsFor } = await openGolden(name);

  test("predicts the same in every arm, however the experts are cut", async () => {
    const sites = cacheSites(decoder);
    const scales = Object.fromEntries(sites.map(({ layer }) => [layer, 0.01 * (layer + 1)]));
    const roundings: readonly CacheRounding[] = [
      { elementType: "float32", largest: Number.MAX_VALUE },
      { elementType: "float8_e4m3fn", largest: 448, scales: { k: scales, v: scales } },
    ];
    const evaluate = async (layerBytes: number) => {
      const { arms } = await evaluateArms({
        ...{ checkpoint, decoder, windows: expectedOf(name).token_ids.slice(-2), roundings },
        end: describeModelEnd(checkpoint.tensors, decoder),
        // Arms that part in the middle: their sums of experts are not to mix.
        arms: [sites.map(() => 0), sites.map(() => 1), sites.map((_, site) => (site === 1 ? 1 : 0))],
        plan: planFor(layerBytes),
      });
      return arms.map(({ positions }) => [...positions.negativeLogLikelihood]);
    };
    const [cut, whole] = [await evaluate(1), await evaluate(WHOLE)];
    for (const [arm, losses] of whole.entries()) {
      const deviations = losses.map((loss, position) => Math.abs((cut[arm]?.[position] ?? Number.NaN) - loss));
      expect(Math.max(...deviations)).toBeLessThan(1e-4);
    }
    expect(whole[1]).not.toEqual(whole[0]);
    expect(whole[2]).not.toEqual(whole[0]);
  });

  test("whatever fits, each expert is in one segment, once, and only the last group of a layer makes hidden states", () => {
    const all = segmentsFor(WHOLE).flatMap(({ parts }) => parts.flatMap(expertsIn));
    expect(new Set(all).size).toBe(all.length);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 22 }), (power) => {
        const segments = segmentsFor(2 ** power);
        expect(segments.flatMap(({ parts }) => parts.flatMap(expertsIn))).toEqual(all);
        for (const { parts, gives, reads } of segments) {
          const isGroup = parts.some(({ kind }) => kind === "experts");
          if (isGroup) expect(parts).toHaveLength(1);
          expect(gives.some(({ kind }) => kind === "expert-sum")).toBe(isGroup);
          const first = parts[0];
          const isBehind =
            (first?.kind === "experts" && first.experts.start > 0) ||
            (first?.kind === "layer" && first.expertsFrom !== undefined);
          expect(reads.some(({ kind }) => kind === "expert-sum")).toBe(isBehind);
        }
      }),
      { numRuns: 23 },
    );
  });
});

test("a layer that fits stays whole, and of one that does not, as many experts as fit come at a time", async () => {
  const { decoder, segmentsFor } = await openGolden("qwen3_moe-plain");
  const mixtures = decoder.layers.flatMap(blocksOf).filter((block) => block.kind === "experts");
  const [mixture] = mixtures;
  if (mixture === undefined) throw new Error("the golden has experts");
  const [{ layer } = { layer: 0 }] = goldenOf("qwen3_moe-plain").experts ?? [];
  const elements = ({ inputs, outputs }: { inputs: number; outputs: number }) => 4 * inputs * outputs;
  const expertBytes = mixture.experts.slice(0, 1).reduce((sum, { gate, up, down }) => {
    return sum + [gate, up, down].reduce((all, linear) => all + (linear === undefined ? 0 : elements(linear)), 0);
  }, 0);
  // The router, and the norm before it.
  const besideBytes = elements(mixture.router.logits) + 4 * decoder.hiddenSize;
  const groups = (layerBytes: number) =>
    segmentsFor(layerBytes).flatMap(({ purpose }) => (purpose.endsWith(` of layer ${layer}`) ? [purpose] : []));
  expect(groups(WHOLE)).toEqual([]);
  expect(groups(besideBytes + 2 * expertBytes)[0]).toBe(`experts 0–1 of layer ${layer}`);
  expect(groups(besideBytes + 3 * expertBytes - 1)[0]).toBe(`experts 0–1 of layer ${layer}`);
  expect(groups(1)).toHaveLength(mixture.experts.length - 1);
});
