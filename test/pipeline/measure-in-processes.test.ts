// Several processes measure what one would: batches are dealt, maxima merged, progress joined, the first error stops all.

import { describe, expect, onTestFinished, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { InterruptedError, ProviderError } from "../../src/errors.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import type { ComputeProcess } from "../../src/pipeline/compute-process.js";
import type { TaskRequest } from "../../src/pipeline/compute-tasks.js";
import { measureInProcesses } from "../../src/pipeline/measure-in-processes.js";
import { type MeasuredRanges, type MeasureProgress, measureRanges } from "../../src/pipeline/measure-ranges.js";
import { stopAll, type Worker } from "../../src/pipeline/share-work.js";
import { startTwoProcesses } from "../helpers/compute-processes.js";
import { expectedOf, goldenFolder } from "../helpers/golden-checkpoints.js";

// Lengths that make batches of their own: prompts beyond the trained positions.
const NAME = "llama-rope-dynamic";
const { token_ids } = expectedOf(NAME);
const tokenIds = [...token_ids, ...token_ids.map((ids) => ids.toReversed())];
const checkpoint = await openCheckpoint(goldenFolder(NAME));
const decoder = describeModel(checkpoint.config, checkpoint.tensors);
const plan: ComputePlan = { ...planCompute({ provider: "cpu", checkpoint, decoder, memory: 1 }), batchTokens: 128 };
const request = { checkpoint, decoder, tokenIds };
const alone = await measureRanges({ ...request, plan });

type Measure = (request: TaskRequest<"measure">) => Promise<MeasuredRanges>;

/** A process that computes in this one. */
function workersThat(...measures: readonly Measure[]): { workers: Worker[]; stopped: number[] } {
  const stopped: number[] = [];
  const workers = measures.map((measure, index) => {
    const process = { run: (_task: string, given: object) => measure(given as TaskRequest<"measure">) };
    return { process: { ...process, stop: () => stopped.push(index) } as unknown as ComputeProcess, plan };
  });
  return { workers, stopped };
}

describe("the ranges are those of one process, to the bit", () => {
  test.each([1, 2, 3, 20])("with %d", async (count) => {
    const { workers } = workersThat(...Array.from({ length: count }, () => measureRanges));
    const { ranges, elementType, warnings } = await measureInProcesses(workers, request);
    expect(ranges).toEqual(alone.ranges);
    expect({ elementType, warnings }).toEqual({ elementType: "float32", warnings: [] });
  });

  test("with two real processes, which then measure again", async () => {
    const workers = await startTwoProcesses(checkpoint, decoder, plan);
    onTestFinished(() => stopAll(workers));
    const later = { ...request, tokenIds: tokenIds.slice(1) };
    expect((await measureInProcesses(workers, request)).ranges).toEqual(alone.ranges);
    expect((await measureInProcesses(workers, later)).ranges).toEqual((await measureRanges({ ...later, plan })).ranges);
  });
});

describe("progress is that of all together", () => {
  test("it never goes back, and ends complete", async () => {
    const seen: MeasureProgress[] = [];
    const { workers } = workersThat(measureRanges, measureRanges);
    await measureInProcesses(workers, { ...request, onProgress: (progress) => seen.push(progress) });
    const tokens = tokenIds.reduce((sum, ids) => sum + ids.length, 0);
    const layers = decoder.layers.length;
    expect(seen.length).toBeGreaterThan(2);
    for (const key of ["layersDone", "tokenLayersDone"] as const) {
      const values = seen.map((progress) => progress[key]);
      expect(values).toEqual(values.toSorted((a, b) => a - b));
    }
    expect(new Set(seen.map(({ tokenLayers }) => tokenLayers))).toEqual(new Set([tokens * layers]));
    expect(seen.at(-1)).toMatchObject({ layersDone: layers, layers, tokenLayersDone: tokens * layers });
  });
});

describe("what the processes say is joined", () => {
  const measured =
    (changes: Partial<MeasuredRanges>): Measure =>
    async () => ({ ...alone, ...changes });

  test("a warning of all is given once", async () => {
    const warnings = ["beyond the range of float16"];
    const { workers } = workersThat(measured({ warnings }), measured({ warnings }));
    expect((await measureInProcesses(workers, request)).warnings).toEqual(warnings);
  });

  test("that one needed another type is said, not hidden", async () => {
    const { workers } = workersThat(measured({ elementType: "float16" }), measured({ elementType: "bfloat16" }));
    const { warnings } = await measureInProcesses(workers, request);
    expect(warnings).toEqual(["Some prompts were computed in float16, others in bfloat16."]);
  });

  test("times are those of the slowest", async () => {
    const { workers } = workersThat(
      measured({ timing: { openSeconds: 1, computeSeconds: 5 } }),
      measured({ timing: { openSeconds: 2, computeSeconds: 4 } }),
    );
    expect((await measureInProcesses(workers, request)).timing).toEqual({ openSeconds: 2, computeSeconds: 5 });
  });
});

describe("the first error stops all", () => {
  test("and is the error of the measurement", async () => {
    const lost = new ProviderError("device lost");
    let end: (error: Error) => void = () => {};
    const endless = () => new Promise<MeasuredRanges>((_, reject) => (end = reject));
    const { workers, stopped } = workersThat(endless, () => Promise.reject(lost));
    const stopFirst = workers[0]?.process.stop;
    Object.assign(workers[0]?.process ?? {}, {
      stop() {
        stopFirst?.();
        end(new ProviderError("was killed"));
      },
    });
    await expect(measureInProcesses(workers, request)).rejects.toBe(lost);
    expect(stopped.toSorted()).toEqual([0, 1]);
  });

  test("an interrupt, too", async () => {
    const { workers, stopped } = workersThat(measureRanges, measureRanges);
    const run = measureInProcesses(workers, { ...request, signal: AbortSignal.abort() });
    await expect(run).rejects.toBeInstanceOf(InterruptedError);
    expect(stopped).toEqual([0, 1]);
  });
});
