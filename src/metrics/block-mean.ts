// The mean of values along a text and its standard error, where neighbours are correlated. Pure; does not know what the
// values are.

/** A value with its 95 % confidence interval. */
export interface Interval {
  /** The value itself. */
  readonly value: number;
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
}

export interface MeanWithError {
  readonly mean: number;
  /** Standard error of the mean; Infinity with fewer than two blocks. */
  readonly error: number;
}

/**
 * Positions that count as one observation. Tokens near each other read the same keys and belong to the same sentence,
 * so an error computed from single positions would be too small. 64 positions cover most of that correlation, and a few
 * thousand tokens still give enough blocks to estimate the spread.
 */
const BLOCK_LENGTH = 64;

/** 95 % of a normal distribution lie within so many standard deviations. */
const DEVIATIONS = 1.96;

/**
 * Mean over all positions, and its standard error from blocks of 64 positions. No block spans two windows. The last
 * block of a window may be shorter, which the ratio estimator allows for: √(B / (B − 1) · Σ (sum_b − n_b · mean)²) / N
 * (Cochran, Sampling Techniques, 6.4 without the finite population correction).
 * @param values [positions], all windows joined
 * @param windowLengths positions of each window
 * @throws RangeError when the windows' lengths do not add up to that of the values
 */
export function blockMean(values: Float64Array, windowLengths: readonly number[]): MeanWithError {
  const blocks = blockSums(values, windowLengths);
  const mean = blocks.reduce((total, { sum }) => total + sum, 0) / values.length;
  if (blocks.length < 2) return { mean, error: Number.POSITIVE_INFINITY };
  const squares = blocks.reduce((total, { sum, length }) => total + (sum - length * mean) ** 2, 0);
  return { mean, error: Math.sqrt((squares * blocks.length) / (blocks.length - 1)) / values.length };
}

interface Block {
  readonly sum: number;
  readonly length: number;
}

function blockSums(values: Float64Array, windowLengths: readonly number[]): Block[] {
  const positions = windowLengths.reduce((sum, length) => sum + length, 0);
  if (positions !== values.length)
    throw new RangeError(`windows of ${positions} positions, but ${values.length} values`);
  const blocks: Block[] = [];
  let start = 0;
  for (const windowLength of windowLengths) {
    const end = start + windowLength;
    for (let first = start; first < end; first += BLOCK_LENGTH) {
      const block = values.subarray(first, Math.min(first + BLOCK_LENGTH, end));
      blocks.push({ sum: block.reduce((sum, value) => sum + value, 0), length: block.length });
    }
    start = end;
  }
  return blocks;
}

/** mean ± 1.96 standard errors. */
export function intervalOf({ mean, error }: MeanWithError): Interval {
  return { value: mean, low: mean - DEVIATIONS * error, high: mean + DEVIATIONS * error };
}

/**
 * Mean of first − second over the same positions. A token that is hard for one is hard for the other, so the interval
 * is far narrower than those of the two means.
 */
export function pairedDifference(
  first: Float64Array,
  second: Float64Array,
  windowLengths: readonly number[],
): Interval {
  const differences = first.map((value, index) => value - (second[index] ?? Number.NaN));
  return intervalOf(blockMean(differences, windowLengths));
}
