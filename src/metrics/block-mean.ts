// The mean of values along texts and its 95 % interval, where tokens near each other and tokens of one text are alike.
// Pure; does not know what the values are.

import { studentT95 } from "./student-t.js";

/** A value with its 95 % confidence interval. */
export interface Interval {
  /** The value itself. */
  readonly value: number;
  /** Lower end; -Infinity, or the least possible, for text that says nothing of it. */
  readonly low: number;
  /** Upper end; Infinity, or the largest possible, for text that says nothing of it. */
  readonly high: number;
}

/** Where a window's positions come from. */
export interface WindowPlace {
  readonly positions: number;
  /** The passage that it is a part of: a text, or a piece of a long one. */
  readonly passage: number;
}

export interface MeanWithError {
  readonly mean: number;
  /** Standard error of the mean; Infinity with fewer than two passages. */
  readonly error: number;
  /** Standard errors on each side of the mean within which the true mean lies 95 times of 100. */
  readonly deviations: number;
}

/**
 * Positions that count as one observation within a passage. Tokens near each other read the same keys and belong to the
 * same sentence, so an error computed from single positions would be too small.
 */
const BLOCK_LENGTH = 64;

/**
 * The mean over all positions, and its standard error: the larger of two. Passages differ from each other (another
 * language, code), so the error that counts is the one between passages, by leaving out each in turn (the jackknife of a
 * ratio; Cochran, Sampling Techniques, 6.15). With few passages that are alike by chance it is too small, so it is at
 * least the one between blocks of 64 positions. The interval is Student's, with as many degrees of freedom as passages
 * of one length would have that weigh as unevenly as these.
 * @param values [positions], all windows joined
 * @throws RangeError when the windows' positions do not add up to those of the values
 */
export function blockMean(values: Float64Array, windows: readonly WindowPlace[]): MeanWithError {
  const { passages, blocks } = sumsOf(values, windows);
  const mean = blocks.reduce((total, { sum }) => total + sum, 0) / values.length;
  const error = passages.length < 2 ? Number.POSITIVE_INFINITY : Math.max(jackknife(passages), jackknife(blocks));
  return { mean, error, deviations: deviationsFor(effectivePassages(windows)) };
}

interface Piece {
  sum: number;
  positions: number;
}

/** Sums by passage, and by blocks that reach into no second window. */
function sumsOf(values: Float64Array, windows: readonly WindowPlace[]): { passages: Piece[]; blocks: Piece[] } {
  const total = windows.reduce((sum, { positions }) => sum + positions, 0);
  if (total !== values.length) throw new RangeError(`windows of ${total} positions, but ${values.length} values`);
  const passages = new Map<number, Piece>();
  const blocks: Piece[] = [];
  let start = 0;
  for (const { positions, passage } of windows) {
    const whole = passages.get(passage) ?? { sum: 0, positions: 0 };
    if (positions > 0) passages.set(passage, whole);
    const end = start + positions;
    for (let first = start; first < end; first += BLOCK_LENGTH) {
      const block = values.subarray(first, Math.min(first + BLOCK_LENGTH, end));
      const sum = block.reduce((partial, value) => partial + value, 0);
      blocks.push({ sum, positions: block.length });
      whole.sum += sum;
      whole.positions += block.length;
    }
    start = end;
  }
  return { passages: [...passages.values()], blocks };
}

/** √((n − 1) / n · Σ (mean without one − mean)²); Infinity for a single piece. */
function jackknife(pieces: readonly Piece[]): number {
  const sum = pieces.reduce((total, piece) => total + piece.sum, 0);
  const positions = pieces.reduce((total, piece) => total + piece.positions, 0);
  const mean = sum / positions;
  const squares = pieces.reduce((total, piece) => {
    const without = (sum - piece.sum) / (positions - piece.positions);
    return total + (without - mean) ** 2;
  }, 0);
  return pieces.length < 2 ? Number.POSITIVE_INFINITY : Math.sqrt((squares * (pieces.length - 1)) / pieces.length);
}

/** How many passages of one length would weigh as these do: (Σ n)² / Σ n². More than 1 where there are several. */
export function effectivePassages(windows: readonly WindowPlace[]): number {
  const lengths = new Map<number, number>();
  for (const { positions, passage } of windows) lengths.set(passage, (lengths.get(passage) ?? 0) + positions);
  const sum = [...lengths.values()].reduce((total, length) => total + length, 0);
  const squares = [...lengths.values()].reduce((total, length) => total + length ** 2, 0);
  return squares === 0 ? 0 : sum ** 2 / squares;
}

/** Standard errors on each side of a mean over so many passages; Infinity for one. */
export function deviationsFor(passages: number): number {
  return passages > 1 ? studentT95(Math.max(1, Math.floor(passages) - 1)) : Number.POSITIVE_INFINITY;
}

/** The mean and the interval that holds the true one 95 times of 100. Without spread there is no doubt. */
export function intervalOf({ mean, error, deviations }: MeanWithError): Interval {
  const half = error === 0 ? 0 : deviations * error;
  return { value: mean, low: mean - half, high: mean + half };
}

/**
 * Mean of first − second over the same positions. A token that is hard for one is hard for the other, so the interval
 * is far narrower than those of the two means.
 */
export function pairedDifference(first: Float64Array, second: Float64Array, windows: readonly WindowPlace[]): Interval {
  const differences = first.map((value, index) => value - (second[index] ?? Number.NaN));
  return intervalOf(blockMean(differences, windows));
}
