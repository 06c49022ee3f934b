// How a value depends on how much text lies before it: means over positions of the windows. Pure.

/** Mean over all positions first ≤ position < end of all windows. */
export interface BinMean {
  readonly first: number;
  readonly end: number;
  readonly positions: number;
  readonly mean: number;
}

const FIRST_BIN_END = 64;

/**
 * Means in bins that double: positions 0–63, 64–127, 128–255, … The last is the one that the longest window ends in.
 * @param values [positions], over all windows one behind the other
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
