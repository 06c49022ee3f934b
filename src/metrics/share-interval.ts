// The 95 % interval of a share, such as that of positions with the same token: never beyond 0 and 1, and of some width
// even where all positions agree. Pure.

import { blockMean, type Interval, type WindowPlace } from "./block-mean.js";
import { studentT95 } from "./student-t.js";

/**
 * Wilson's score interval for as many independent positions as would have the error that was measured between passages
 * and blocks (see blockMean): at most as many as there are, and all of them where every position is alike.
 * @param hits [positions], 1 where it is so and 0 elsewhere; NaN at one makes it NaN
 */
export function shareInterval(hits: Float64Array, windows: readonly WindowPlace[]): Interval {
  const { mean, error, deviations } = blockMean(hits, windows);
  const independent = error > 0 ? Math.min(hits.length, (mean * (1 - mean)) / error ** 2) : hits.length;
  return wilson(mean, independent, deviations);
}

/** The interval of a share that was found in `count` independent trials. */
export function shareOfTrials(share: number, count: number): Interval {
  return wilson(share, count, studentT95(count - 1));
}

function wilson(share: number, count: number, deviations: number): Interval {
  if (!Number.isFinite(deviations) || count === 0) return { value: share, low: 0, high: 1 };
  const weight = deviations ** 2 / count;
  const middle = (share + weight / 2) / (1 + weight);
  const half = (deviations / (1 + weight)) * Math.sqrt((share * (1 - share)) / count + weight / (4 * count));
  return { value: share, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}
