// A measurement in as many processes as there are devices: batches are dealt out, maxima merged. Knows nothing of prompts
// beyond their token ids.

import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { mergeRanges } from "../numerics/ranges.js";
import type { ComputePlan } from "./compute-plan.js";
import type { ComputeProcess } from "./compute-process.js";
import type { MeasuredRanges, MeasureProgress } from "./measure-ranges.js";

export interface DevicesRequest {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly tokenIds: readonly (readonly number[])[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: MeasureProgress) => void) | undefined;
}

/** A process that is ready, and how it computes. */
export interface Worker {
  readonly process: ComputeProcess;
  readonly plan: ComputePlan;
}

/** Measures with all workers at once. @throws as measureRanges; the first error stops all */
export async function measureOnDevices(
  workers: readonly Worker[],
  { onProgress, ...request }: DevicesRequest,
): Promise<MeasuredRanges> {
  const progress = new Map<number, MeasureProgress>();
  const report = (index: number) => (part: MeasureProgress) => {
    progress.set(index, part);
    // How much there is to do is known when all have begun.
    if (progress.size === workers.length) onProgress?.(joinProgress([...progress.values()]));
  };
  const measured = workers.map(({ process, plan }, index) =>
    process.run("measure", {
      ...request,
      plan,
      onProgress: report(index),
      share: workers.length === 1 ? undefined : { index, count: workers.length },
    }),
  );
  try {
    const parts = await Promise.all(measured);
    const [elementType = "float32", ...others] = new Set(parts.map((part) => part.elementType));
    const mixed = others.map((other) => `Some prompts were computed with in ${elementType}, others in ${other}.`);
    return {
      ranges: mergeRanges(parts.map(({ ranges }) => ranges)),
      elementType,
      timing: {
        openSeconds: Math.max(...parts.map(({ timing }) => timing.openSeconds)),
        computeSeconds: Math.max(...parts.map(({ timing }) => timing.computeSeconds)),
      },
      warnings: [...new Set([...parts.flatMap(({ warnings }) => warnings), ...mixed])],
    };
  } catch (error) {
    for (const { process } of workers) process.stop();
    await Promise.allSettled(measured);
    throw error;
  }
}

/** Work adds up; a layer is done when it is done everywhere. */
function joinProgress(parts: readonly MeasureProgress[]): MeasureProgress {
  const sum = (of: (part: MeasureProgress) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    layersDone: Math.min(...parts.map(({ layersDone }) => layersDone)),
    layers: parts[0]?.layers ?? 0,
    tokenLayersDone: sum(({ tokenLayersDone }) => tokenLayersDone),
    tokenLayers: sum(({ tokenLayers }) => tokenLayers),
  };
}
