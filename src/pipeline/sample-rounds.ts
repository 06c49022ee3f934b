// A measurement in rounds: the first prompts, then more, until those there are say enough. Each round computes only what is
// new, in the same processes. Does not know what enough is.

import { mergeExpertTokens } from "../numerics/expert-tokens.js";
import { appendRanges, type LayerRange } from "../numerics/ranges.js";
import { measureInProcesses } from "./measure-in-processes.js";
import type { MeasuredRanges, MeasureProgress, MeasureRequest } from "./measure-ranges.js";
import type { Worker } from "./share-work.js";
import { joinArithmetic } from "./wider-arithmetic.js";

/** Prompts of the first round. */
const FIRST_ROUND = 32;

/** Where rounds end: twice as many prompts each time, and at last all. @param prompts 1 or more */
export function roundEnds(prompts: number): number[] {
  const ends: number[] = [];
  for (let end = FIRST_ROUND; end < prompts; end *= 2) ends.push(end);
  return [...ends, prompts];
}

/** The round that is being measured. */
export interface SampleRound {
  /** Number of its first prompt, from 1. */
  readonly first: number;
  /** Number of its last. */
  readonly last: number;
  /** Prompts that there are. */
  readonly of: number;
}

export interface RoundsRequest extends Omit<MeasureRequest, "plan" | "share" | "onProgress"> {
  /** How many prompts have been measured at the end of each round, ascending; the last one are all. */
  readonly ends: readonly number[];
  /** Asked after each round: whether no other is needed. @param ranges of the prompts so far */
  readonly isEnough: (ranges: readonly LayerRange[], prompts: number) => boolean;
  readonly onProgress?: ((progress: MeasureProgress, round: SampleRound) => void) | undefined;
}

export interface MeasuredRounds extends MeasuredRanges {
  /** Prompts that were measured: the first ones. */
  readonly prompts: number;
  readonly isEnough: boolean;
}

/** Measures round by round. @throws as measureInProcesses */
export async function measureInRounds(
  workers: readonly Worker[],
  { ends, isEnough, tokenIds, onProgress, ...request }: RoundsRequest,
): Promise<MeasuredRounds> {
  let measured: MeasuredRounds | undefined;
  for (const end of ends) {
    const start = measured?.prompts ?? 0;
    const round = { first: start + 1, last: end, of: tokenIds.length };
    const part = await measureInProcesses(workers, {
      ...{ ...request, tokenIds: tokenIds.slice(start, end) },
      onProgress: (progress) => onProgress?.(progress, round),
    });
    const joined = measured === undefined ? part : joinRounds(measured, part);
    measured = { ...joined, prompts: end, isEnough: isEnough(joined.ranges, end) };
    if (measured.isEnough) break;
  }
  if (measured === undefined) throw new RangeError("there is no round to measure");
  return measured;
}

function joinRounds(earlier: MeasuredRanges, later: MeasuredRanges): MeasuredRanges {
  return {
    ranges: appendRanges(earlier.ranges, later.ranges),
    experts: mergeExpertTokens([earlier.experts, later.experts]),
    timing: {
      openSeconds: earlier.timing.openSeconds + later.timing.openSeconds,
      computeSeconds: earlier.timing.computeSeconds + later.timing.computeSeconds,
    },
    ...joinArithmetic([earlier, later]),
  };
}
