// Into how many processes the processor's cores are divided: as cores, work and memory allow.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CoresRequest, planProcesses } from "../../src/pipeline/process-plan.js";

const MEBIBYTE = 2 ** 20;
const GIBIBYTE = 2 ** 30;
/** Layers in float32. */
const SMOLLM2 = 14 * MEBIBYTE;
const LLAMA_8B = 832 * MEBIBYTE;
const LLAMA_1B = 232 * MEBIBYTE;
const MUCH = 65_000;

const small = { tokens: MUCH, layerBytes: SMOLLM2, free: 64 * GIBIBYTE };
const large = { ...small, layerBytes: LLAMA_8B };

test.each<[what: string, CoresRequest, processes: number, threads: number | undefined]>([
  ["two cores stay together", { ...small, cores: 2 }, 1, undefined],
  ["so do seven", { ...small, cores: 7 }, 1, undefined],
  ["eight are two processes", { ...small, cores: 8 }, 2, 4],
  ["sixteen are four", { ...small, cores: 16 }, 4, 4],
  ["eleven are two, of five threads", { ...small, cores: 11 }, 2, 5],
  ["cores that cannot be counted stay together", { ...small, cores: undefined }, 1, undefined],
  ["little work is for one process", { ...small, cores: 64, tokens: 1500 }, 1, undefined],
  ["some work is for some processes, with more threads each", { ...small, cores: 64, tokens: 11_097 }, 5, 12],
  ["layers of 1B are in four processes", { ...small, cores: 64, layerBytes: LLAMA_1B }, 4, 16],
  ["layers of 8B are in one", { ...large, cores: 64 }, 1, undefined],
  ["in more, where memory is allowed", { ...large, cores: 64, memory: 8 * GIBIBYTE }, 9, 7],
  ["as many as free memory is enough for", { ...small, cores: 16, free: 2.5 * GIBIBYTE }, 2, 8],
  ["with little of it free, one", { ...large, cores: 16, memory: 2 * GIBIBYTE, free: 6 * GIBIBYTE }, 1, undefined],
  ["little memory is for one process", { ...small, cores: 16, memory: 20 * MEBIBYTE }, 1, undefined],
])("%s", (_what, request, processes, threads) => {
  expect(planProcesses(request)).toEqual({ processes, threads });
});

describe("whatever there is", () => {
  const requests = fc.record({
    cores: fc.integer({ min: 1, max: 512 }),
    tokens: fc.nat(10_000_000),
    layerBytes: fc.nat(4 * GIBIBYTE),
    memory: fc.option(fc.nat(64 * GIBIBYTE), { nil: undefined }),
    free: fc.nat(64 * GIBIBYTE),
  });

  test("threads are no more than cores, and a layer for each process fits", () => {
    fc.assert(
      fc.property(requests, ({ memory, ...request }) => {
        const { processes, threads = request.cores } = planProcesses({ ...request, memory });
        expect(Number.isSafeInteger(processes) && processes >= 1).toBe(true);
        expect(processes * threads).toBeLessThanOrEqual(request.cores);
        expect(threads).toBeGreaterThanOrEqual(Math.min(4, request.cores));
        if (processes === 1) return;
        expect(processes * request.layerBytes).toBeLessThanOrEqual(memory ?? GIBIBYTE);
        expect(processes * (request.layerBytes + 512 * MEBIBYTE)).toBeLessThanOrEqual(request.free / 2);
      }),
    );
  });
});
