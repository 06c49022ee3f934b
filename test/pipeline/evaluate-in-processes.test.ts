// Several processes evaluate what one would: windows are dealt, positions put in their places, sums added, progress joined.

import { describe, expect, onTestFinished, test } from "vitest";
import { describeModel, describeModelEnd } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { Side } from "../../src/graphs/kv-cache.js";
import { roundingsOf } from "../../src/pipeline/arms.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import type { ComputeProcess } from "../../src/pipeline/compute-process.js";
import {
  type EvaluateProgress,
  type EvaluateRequest,
  type Evaluation,
  evaluateArms,
} from "../../src/pipeline/evaluate-arms.js";
import { evaluateInProcesses } from "../../src/pipeline/evaluate-in-processes.js";
import { stopAll, type Worker } from "../../src/pipeline/share-work.js";
import { startTwoProcesses } from "../helpers/compute-processes.js";
import { expectedOf, goldenFolder } from "../helpers/golden-checkpoints.js";

const NAME = "llama-gqa";
const { token_ids } = expectedOf(NAME);
// Of different lengths, not in their order, and one that has no position to be asked at.
const windows = [...token_ids, [7], ...token_ids.map((ids) => ids.slice(0, Math.ceil(ids.length / 2)).toReversed())];
const tokens = windows.flat().length;
const checkpoint = await openCheckpoint(goldenFolder(NAME));
const decoder = describeModel(checkpoint.config, checkpoint.tensors);
const end = describeModelEnd(checkpoint.tensors, decoder);
const plan: ComputePlan = { ...planCompute({ provider: "cpu", checkpoint, decoder }), batchTokens: 16 };
const rounding = roundingsOf({ dtype: "float8_e4m3fn", scales: undefined, bits16: "bfloat16" });
const arms = (["16-bit", "exact", "fp8-at-1", "e5m2"] as const).map((arm) =>
  decoder.layers.map(() => rounding.indexOf(arm)),
);
const request = { checkpoint, decoder, end, windows, roundings: rounding.roundings, arms };
const alone = await evaluateArms({ ...request, plan });

/** Processes that compute in this one. */
function workersThat(...evaluations: readonly ((request: EvaluateRequest) => Promise<Evaluation>)[]): Worker[] {
  return evaluations.map((evaluate) => {
    const process = { run: (_task: string, given: EvaluateRequest) => evaluate(given), stop() {} };
    return { process: process as unknown as ComputeProcess, plan };
  });
}

/** Of float32, in matrix products that are cut elsewhere. */
const NATS = 2e-5;

function expectSame(found: Evaluation, expected: Evaluation): void {
  expect(found.windows).toEqual(windows.map((_, window) => window));
  expect(found.arms).toHaveLength(expected.arms.length);
  for (const [arm, { positions, layers }] of found.arms.entries()) {
    const wanted = expected.arms[arm];
    for (const name of ["negativeLogLikelihood", "divergence"] as const) {
      const values = positions[name];
      expect(values).toHaveLength(wanted?.positions[name].length ?? -1);
      const far = [...values].filter((value, at) => Math.abs(value - (wanted?.positions[name][at] ?? NaN)) > NATS);
      expect(far).toEqual([]);
    }
    expect(positions.topToken).toEqual(wanted?.positions.topToken);
    for (const [layer, sides] of layers.entries()) {
      for (const side of ["k", "v"] satisfies Side[]) {
        const { signal = NaN, noise = NaN, ...counts } = wanted?.layers[layer]?.[side] ?? {};
        expect(sides[side]).toMatchObject(counts);
        expect(sides[side].signal).toBeCloseTo(signal, 6);
        expect(sides[side].noise).toBeCloseTo(noise, 6);
      }
    }
  }
}

describe("what is found is what one process finds", () => {
  // 40 are more than there are batches.
  test.each([1, 2, 3, 40])("with %d", async (count) => {
    const workers = workersThat(...Array.from({ length: count }, () => evaluateArms));
    const found = await evaluateInProcesses(workers, request);
    expectSame(found, alone);
    expect(found).toMatchObject({ elementType: "float32", warnings: [] });
  });

  test("with two real processes, which divide the cores", async () => {
    const workers = await startTwoProcesses(checkpoint, decoder, plan);
    onTestFinished(() => stopAll(workers));
    expectSame(await evaluateInProcesses(workers, request), alone);
  });
});

test("the windows of a share have their positions in the order of the windows", async () => {
  const shares = await Promise.all(
    [0, 1].map((index) => evaluateArms({ ...request, plan, share: { index, count: 2 } })),
  );
  const evaluated = shares.map((share) => share.windows);
  expect(evaluated.flat().toSorted((a, b) => a - b)).toEqual(windows.map((_, window) => window));
  for (const [share, own] of evaluated.entries()) {
    expect(own).toEqual(own.toSorted((a, b) => a - b));
    const positions = own.reduce((sum, window) => sum + (windows[window]?.length ?? 0) - 1, 0);
    expect(shares[share]?.arms.map((arm) => arm.positions.topToken.length)).toEqual(arms.map(() => positions));
  }
});

test("progress is that of all together: it never goes back, and ends complete", async () => {
  const seen: EvaluateProgress[] = [];
  const onProgress = (progress: EvaluateProgress) => seen.push(progress);
  await evaluateInProcesses(workersThat(evaluateArms, evaluateArms), { ...request, onProgress });
  const done = seen.map((progress) => progress.done);
  expect(done.length).toBeGreaterThan(arms.length * decoder.layers.length);
  expect(done).toEqual(done.toSorted((a, b) => a - b));
  expect(done.at(-1)).toBeCloseTo(1, 9);
  expect(new Set(seen.map((progress) => progress.tokens))).toEqual(new Set([tokens]));
});

test("that one process needed another type is said", async () => {
  const wider = async (given: EvaluateRequest): Promise<Evaluation> => ({
    ...(await evaluateArms(given)),
    elementType: "float16",
  });
  const { elementType, warnings } = await evaluateInProcesses(workersThat(wider, evaluateArms), request);
  expect(elementType).toBe("float16");
  expect(warnings).toEqual(["Some prompts were computed in float16, others in float32."]);
});
