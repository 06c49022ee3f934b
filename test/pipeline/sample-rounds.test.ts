// Measuring in rounds: how far each goes, what ends them, and that their ranges are those of all prompts at once.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { planCompute } from "../../src/pipeline/compute-plan.js";
import type { ComputeProcess } from "../../src/pipeline/compute-process.js";
import type { TaskRequest } from "../../src/pipeline/compute-tasks.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import { measureInRounds, type RoundsRequest, roundEnds, type SampleRound } from "../../src/pipeline/sample-rounds.js";
import type { Worker } from "../../src/pipeline/share-work.js";
import { expectedOf, goldenFolder } from "../helpers/golden-checkpoints.js";

const NAME = "mixtral-plain";
const { token_ids } = expectedOf(NAME);
const tokenIds = [...token_ids, ...token_ids.map((ids) => ids.toReversed()), ...token_ids.map((ids) => ids.slice(1))];
const checkpoint = await openCheckpoint(goldenFolder(NAME));
const decoder = describeModel(checkpoint.config, checkpoint.tensors);
const plan = planCompute({ provider: "cpu", checkpoint, decoder });
const alone = await measureRanges({ checkpoint, decoder, tokenIds, plan });

/** Measures in this process, and keeps the prompts of each round. */
function measuring() {
  const rounds: (readonly (readonly number[])[])[] = [];
  const run = async (_task: string, request: TaskRequest<"measure">) => {
    if (request.share === undefined || request.share.index === 0) rounds.push(request.tokenIds);
    return await measureRanges(request);
  };
  const worker: Worker = { process: { run, stop() {}, warmUp() {} } as unknown as ComputeProcess, plan };
  return { workers: [worker, worker], rounds };
}

async function measured(changes: Partial<RoundsRequest>) {
  const { workers, rounds } = measuring();
  const request = { checkpoint, decoder, tokenIds, ends: [2, 3, tokenIds.length], isEnough: () => false };
  return { result: await measureInRounds(workers, { ...request, ...changes }), rounds };
}

describe("rounds end", () => {
  test.each([
    [1, [1]],
    [32, [32]],
    [33, [32, 33]],
    [175, [32, 64, 128, 175]],
    [256, [32, 64, 128, 256]],
  ])("of %d prompts after %j", (prompts, ends) => {
    expect(roundEnds(prompts)).toEqual(ends);
  });
});

test("each round computes only its own prompts, and together they give what all at once give, to the bit", async () => {
  const { result, rounds } = await measured({});
  expect(rounds).toEqual([tokenIds.slice(0, 2), tokenIds.slice(2, 3), tokenIds.slice(3)]);
  expect(result).toMatchObject({ prompts: tokenIds.length, isEnough: false, elementType: "float32", warnings: [] });
  expect(result.ranges).toEqual(alone.ranges);
  expect(result.experts).toEqual(alone.experts);
  expect(result.timing.computeSeconds).toBeGreaterThan(0);
});

test("the round that is enough is the last; asked are the ranges of all prompts so far", async () => {
  const asked: [prompts: number, maxima: number][] = [];
  const { result, rounds } = await measured({
    isEnough(ranges, prompts) {
      asked.push([prompts, ranges[0]?.k.perPrompt.length ?? 0]);
      return prompts === 3;
    },
  });
  expect(asked).toEqual([
    [2, 2],
    [3, 3],
  ]);
  expect(rounds).toHaveLength(2);
  expect(result).toMatchObject({ prompts: 3, isEnough: true });
  const first = await measureRanges({ checkpoint, decoder, tokenIds: tokenIds.slice(0, 3), plan });
  expect(result.ranges).toEqual(first.ranges);
});

test("progress says which prompts are measured, and begins anew with each round", async () => {
  const seen: [number, number, SampleRound][] = [];
  await measured({ onProgress: ({ layersDone, layers }, round) => seen.push([layersDone, layers, round]) });
  const lasts = [...new Map(seen.map(([done, of, round]) => [round.first, { done, of, round }])).values()];
  const of = tokenIds.length;
  expect(lasts.map(({ round }) => round)).toEqual([
    { first: 1, last: 2, of },
    { first: 3, last: 3, of },
    { first: 4, last: of, of },
  ]);
});
