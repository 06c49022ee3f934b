// Joins the results of vocabulary slices for each position: log-likelihood, divergence, most likely token. Pure
// arithmetic in float64.

import type { ArmPositions } from "./arm-metrics.js";

/** The result of one slice for every position of one arm. */
export interface SliceSums {
  /** First token of the slice. */
  readonly start: number;
  readonly max: Float32Array; // [positions]
  /** Σ exp(logit − max) */
  readonly sumExp: Float32Array; // [positions]
  /** Number of the largest logit, counted from `start`. */
  readonly top: Float32Array; // [positions]
  /** Logit of the token that follows; only where hasTarget is 1. */
  readonly target: Float32Array; // [positions]
  readonly hasTarget: Uint8Array; // [positions]
  /** Σ exp(baseline's logit − its max) · (baseline's logit − this arm's) */
  readonly cross: Float32Array; // [positions]
}

/**
 * Joins the slices of all arms; the first arm is the baseline.
 * With log p = b − LSE(b) and log q = a − LSE(a): KL(p ‖ q) = Σ p (b − a) − LSE(b) + LSE(a).
 * @param arms [arms][slices]
 */
export function joinSlices(arms: readonly (readonly SliceSums[])[]): ArmPositions[] {
  const [baseline = []] = arms;
  const positions = baseline[0]?.max.length ?? 0;
  const ofBaseline = logSums(baseline, positions);
  return arms.map((slices, arm) => {
    const own = arm === 0 ? ofBaseline : logSums(slices, positions);
    const result: ArmPositions = {
      negativeLogLikelihood: new Float64Array(positions),
      divergence: new Float64Array(positions),
      topToken: new Int32Array(positions),
    };
    for (let position = 0; position < positions; position++) {
      const at = (values: Float32Array | undefined) => values?.[position] ?? Number.NaN;
      const logSum = own[position] ?? Number.NaN;
      const baselineLogSum = ofBaseline[position] ?? Number.NaN;
      const withTarget = slices.find(({ hasTarget }) => hasTarget[position] === 1);
      result.negativeLogLikelihood[position] = logSum - at(withTarget?.target);
      const best = slices.reduce((a, b) => (at(b.max) > at(a.max) ? b : a));
      result.topToken[position] = best.start + at(best.top);
      let weighted = 0;
      for (const [index, { cross }] of slices.entries()) {
        weighted += at(cross) * Math.exp(at(baseline[index]?.max) - baselineLogSum);
      }
      result.divergence[position] = arm === 0 ? 0 : weighted - baselineLogSum + logSum;
    }
    return result;
  });
}

/** ln Σ exp(logit) over all slices. */
function logSums(slices: readonly SliceSums[], positions: number): Float64Array {
  return Float64Array.from({ length: positions }, (_, position) => {
    const max = Math.max(...slices.map((slice) => slice.max[position] ?? Number.NaN));
    const sum = slices.reduce(
      (all, slice) =>
        all + (slice.sumExp[position] ?? Number.NaN) * Math.exp((slice.max[position] ?? Number.NaN) - max),
      0,
    );
    return max + Math.log(sum);
  });
}
