// A measurement in several processes, one per device or group of cores. Distributes batches and merges maxima. Knows
// prompts only as token ids.

import { mergeExpertTokens } from "../numerics/expert-tokens.js";
import { mergeRanges } from "../numerics/ranges.js";
import type { MeasuredRanges, MeasureProgress, MeasureRequest } from "./measure-ranges.js";
import { shareWork, type Worker } from "./share-work.js";
import { joinArithmetic } from "./wider-arithmetic.js";

/** Measures with all workers at once. @throws as measureRanges; the first error stops all */
export async function measureInProcesses(
  workers: readonly Worker[],
  { onProgress, ...request }: Omit<MeasureRequest, "plan" | "share">,
): Promise<MeasuredRanges> {
  const progress = new Map<number, MeasureProgress>();
  const report = (index: number) => (part: MeasureProgress) => {
    progress.set(index, part);
    // The total is known when all have begun.
    if (progress.size === workers.length) onProgress?.(joinProgress([...progress.values()]));
  };
  const parts = await shareWork(workers, "measure", (part, index) => ({
    ...{ ...request, ...part },
    onProgress: report(index),
  }));
  return {
    ranges: mergeRanges(parts.map(({ ranges }) => ranges)),
    experts: mergeExpertTokens(parts.map(({ experts }) => experts)),
    timing: {
      openSeconds: Math.max(...parts.map(({ timing }) => timing.openSeconds)),
      computeSeconds: Math.max(...parts.map(({ timing }) => timing.computeSeconds)),
    },
    ...joinArithmetic(parts),
  };
}

/** Work is added up; a layer is done when all processes have done it. */
function joinProgress(parts: readonly MeasureProgress[]): MeasureProgress {
  const sum = (of: (part: MeasureProgress) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    layersDone: Math.min(...parts.map(({ layersDone }) => layersDone)),
    layers: parts[0]?.layers ?? 0,
    tokenLayersDone: sum(({ tokenLayersDone }) => tokenLayersDone),
    tokenLayers: sum(({ tokenLayers }) => tokenLayers),
  };
}
