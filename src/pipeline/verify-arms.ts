// From what the forward pass gives of each cache to its figures: metrics beside the baseline, loss by layer, divergence by
// position. Judges nothing.

import type { CacheSite } from "../architectures/cache-sites.js";
import { type ArmMetrics, type ArmPositions, computeArmMetrics, type Interval } from "../metrics/arm-metrics.js";
import { pairedDifference, type WindowPlace } from "../metrics/block-mean.js";
import { fidelityOf } from "../metrics/cache-fidelity.js";
import { binByPosition } from "../metrics/position-bins.js";
import type { EvaluatedArm } from "./evaluate-arms.js";
import type { ComparedCaches } from "./verify-caches.js";
import type { ArmName, ArmResult, PositionBin } from "./verify-result.js";

/** The metrics of an arm beside a baseline of the same pass. */
export function metricsBeside(
  baseline: EvaluatedArm | undefined,
  arm: EvaluatedArm | undefined,
  places: readonly WindowPlace[],
): ArmMetrics {
  return computeArmMetrics(positionsOf(arm), positionsOf(baseline), places);
}

/** Each compared cache's figures. @param armOf what was evaluated of it */
export function describeArms(
  { arms, rounding, ordered: [baseline] }: ComparedCaches,
  armOf: (name: ArmName) => EvaluatedArm | undefined,
  places: readonly WindowPlace[],
  sites: readonly CacheSite[],
): ArmResult[] {
  return arms.map((name) => ({
    name,
    description: rounding.describe(name),
    ...metricsBeside(armOf(baseline), armOf(name), places),
    layers: describeLayers(name, armOf(name), rounding, sites),
  }));
}

/** @throws RangeError for one that was not evaluated */
export function positionsOf(arm: EvaluatedArm | undefined): ArmPositions {
  if (arm === undefined) throw new RangeError("an arm was not evaluated");
  return arm.positions;
}

function describeLayers(
  name: ArmName,
  arm: EvaluatedArm | undefined,
  rounding: ComparedCaches["rounding"],
  sites: readonly CacheSite[],
): ArmResult["layers"] {
  const measured = arm?.layers ?? [];
  return sites.flatMap(({ layer }, site) => {
    const { k, v } = measured[site] ?? {};
    if (k === undefined || v === undefined) return [];
    return {
      layer,
      kScale: rounding.scaleOf(name, "k", layer),
      vScale: rounding.scaleOf(name, "v", layer),
      k: fidelityOf(k),
      v: fidelityOf(v),
    };
  });
}

/** By how much the KL divergence of one arm is above that of another. */
export function extraDivergence(
  arm: EvaluatedArm | undefined,
  other: EvaluatedArm | undefined,
  places: readonly WindowPlace[],
): Interval {
  return pairedDifference(positionsOf(arm).divergence, positionsOf(other).divergence, places);
}

/** The mean divergence of each arm along the windows. */
export function binPositions(
  arms: readonly ArmName[],
  armOf: (name: ArmName) => EvaluatedArm | undefined,
  windowPositions: readonly number[],
): PositionBin[] {
  const byArm = arms.map((name) => ({
    name,
    bins: binByPosition(positionsOf(armOf(name)).divergence, windowPositions),
  }));
  return (byArm[0]?.bins ?? []).map(({ first, end, positions }, index) => ({
    ...{ first, end, positions },
    meanKl: Object.fromEntries(byArm.map(({ name, bins }) => [name, bins[index]?.mean ?? 0])),
  }));
}
