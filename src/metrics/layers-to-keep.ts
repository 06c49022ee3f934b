// Which layers to try in 16 bits where FP8 in all of them costs too much. Pure; measures nothing.

import type { Thresholds } from "./thresholds.js";

/** With a larger share of layers in 16 bits, an FP8 cache saves little. */
const LARGEST_KEPT_SHARE = 0.25;

/** What FP8 in one layer alone costs. */
export interface LayerCost {
  readonly layer: number;
  readonly meanKl: number;
}

/**
 * Layers to keep in 16 bits when a threshold is exceeded: the costliest ones, until the others are within the KL
 * threshold. The KL of single layers adds up only roughly, so their sum is scaled to the KL of all together. At least
 * one layer, because another threshold may be exceeded. Whether they suffice has to be measured.
 * @param subjectMeanKl mean KL with FP8 in all layers
 * @returns layer numbers, ascending; undefined when they would be more than a quarter of all
 */
export function chooseLayersToKeep(
  layerEffects: readonly LayerCost[],
  subjectMeanKl: number,
  { maxKl }: Thresholds,
): readonly number[] | undefined {
  const falling = byFallingCost(layerEffects);
  const total = sumOf(falling);
  const scale = Number.isFinite(subjectMeanKl) && Number.isFinite(total) && total > 0 ? subjectMeanKl / total : 1;
  let count = 1;
  while (count < falling.length && !(sumOf(falling.slice(count)) * scale <= maxKl)) count++;
  if (count > layerEffects.length * LARGEST_KEPT_SHARE) return undefined;
  return falling
    .slice(0, count)
    .map(({ layer }) => layer)
    .sort((a, b) => a - b);
}

/** A layer with a cost of NaN breaks the model: it comes first. */
export function byFallingCost(layerEffects: readonly LayerCost[]): LayerCost[] {
  const costOf = ({ meanKl }: LayerCost) => (Number.isNaN(meanKl) ? Number.POSITIVE_INFINITY : meanKl);
  return layerEffects.toSorted((a, b) => (costOf(a) === costOf(b) ? a.layer - b.layer : costOf(b) - costOf(a)));
}

function sumOf(effects: readonly LayerCost[]): number {
  return effects.reduce((sum, { meanKl }) => sum + meanKl, 0);
}
