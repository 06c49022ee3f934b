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
  const progress: MeasureProgress[] = [];
  const report = (index: number) => (part: MeasureProgress) => {
    progress[index] = part;
    onProgress?.(joinProgress(progress));
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
    const elementTypes = parts.map(({ elementType }) => elementType);
    return {
      ranges: mergeRanges(parts.map(({ ranges }) => ranges)),
      elementType: elementTypes.includes("float32") ? "float32" : (elementTypes[0] ?? "float32"),
      timing: {
        openSeconds: Math.max(...parts.map(({ timing }) => timing.openSeconds)),
        computeSeconds: Math.max(...parts.map(({ timing }) => timing.computeSeconds)),
      },
      warnings: [...new Set(parts.flatMap(({ warnings }) => warnings))],
    };
  } catch (error) {
    for (const { process } of workers) process.stop();
    await Promise.allSettled(measured);
    throw error;
  }
}

/** Work adds up; a layer is done when it is done everywhere. */
function joinProgress(parts: readonly MeasureProgress[]): MeasureProgress {
  const known = parts.filter((part) => part !== undefined);
  const sum = (of: (part: MeasureProgress) => number) => known.reduce((total, part) => total + of(part), 0);
  return {
    layersDone: Math.min(...known.map(({ layersDone }) => layersDone)),
    layers: known[0]?.layers ?? 0,
    tokenLayersDone: sum(({ tokenLayersDone }) => tokenLayersDone),
    tokenLayers: sum(({ tokenLayers }) => tokenLayers),
  };
}
