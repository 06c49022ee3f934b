// How a value depends on the length of the text before it: means by position in the windows. Pure.

/** Mean over the positions first ≤ position < end of all windows. */
export interface BinMean {
  readonly first: number;
  readonly end: number;
  readonly positions: number;
  readonly mean: number;
}

const FIRST_BIN_END = 64;

/**
 * Means in bins that double in size: positions 0–63, 64–127, 128–255, … The longest window ends in the last one.
 * @param values [positions], all windows joined
 * @param windowLengths positions of each window
 */
export function binByPosition(values: Float64Array, windowLengths: readonly number[]): BinMean[] {
  const longest = Math.max(0, ...windowLengths);
  const bins: BinMean[] = [];
  for (let first = 0, end = FIRST_BIN_END; first < longest; first = end, end *= 2) {
    const pieces = sliceWindows(values, windowLengths, first, end);
    const positions = pieces.reduce((count, { length }) => count + length, 0);
    const sum = pieces.reduce((total, piece) => piece.reduce((partial, value) => partial + value, total), 0);
    bins.push({ first, end, positions, mean: sum / positions });
  }
  return bins;
}

function sliceWindows(
  values: Float64Array,
  windowLengths: readonly number[],
  first: number,
  end: number,
): Float64Array[] {
  let start = 0;
  return windowLengths.map((length) => {
    const piece = values.subarray(start + Math.min(first, length), start + Math.min(end, length));
    start += length;
    return piece;
  });
}
