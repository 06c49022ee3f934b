// What crosses between segments beside one stream of hidden states: a verification is the same wherever the segments end.

import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { CacheRounding } from "../../src/graphs/kv-cache.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import { evaluateArms } from "../../src/pipeline/evaluate-arms.js";
import { planSegments } from "../../src/pipeline/segment-plan.js";
import { expectedOf, goldenFolder } from "../helpers/golden-checkpoints.js";

describe.each(["gemma4_text-e-model", "gemma3n_text-shared"])("%s", async (name) => {
  const checkpoint = await openCheckpoint(goldenFolder(name));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const sites = cacheSites(decoder);
  const scales = Object.fromEntries(sites.map(({ layer }) => [layer, 0.01 * (layer + 1)]));
  const roundings: readonly CacheRounding[] = [
    { elementType: "float32", largest: Number.MAX_VALUE },
    { elementType: "float8_e4m3fn", largest: 448, scales: { k: scales, v: scales } },
  ];
  const uniform = (rounding: number) => sites.map(() => rounding);

  test("predicts the same with a segment for each layer and one for all", async () => {
    const evaluate = async (segmentBytes: number) => {
      const { arms } = await evaluateArms({
        ...{ checkpoint, decoder, windows: expectedOf(name).token_ids.slice(0, 3), roundings },
        end: describeModelEnd(checkpoint.tensors, decoder),
        arms: [uniform(0), uniform(1), sites.map((_, site) => (site === 2 ? 1 : 0))],
        plan: { ...planCompute({ provider: "cpu", checkpoint, decoder }), segmentBytes },
      });
      return arms;
    };
    const [exact, ...others] = await evaluate(1);
    expect([exact, ...others]).toEqual(await evaluate(2 ** 30));
    for (const arm of others) {
      expect(arm.positions.negativeLogLikelihood).not.toEqual(exact?.positions.negativeLogLikelihood);
    }
  });

  test("a value crosses as long as a later segment reads it, and no longer", () => {
    const limits = { segmentBytes: 1, elementType: "float32" } as const;
    const segments = planSegments(decoder, limits, () => 1, "layer");
    const [embedding, ...layers] = segments;
    expect(embedding?.gives.map(({ kind }) => kind)).toEqual(decoder.layers.map(() => "per-layer-input"));
    expect(layers.map(({ gives }) => gives.length)).toEqual([0, 0, 2, 2, 0, 0]);
    expect(layers.map(({ reads }) => reads.length)).toEqual([1, 1, 1, 1, 3, 3]);
    expect(segments.map(({ readLater }) => readLater.length)).toEqual([6, 5, 4, 5, 6, 3, 0]);
    expect(planSegments(decoder, { ...limits, segmentBytes: 2 ** 40 }, () => 1, "layer")).toMatchObject([
      { reads: [], gives: [], readLater: [] },
    ]);
  });
});
