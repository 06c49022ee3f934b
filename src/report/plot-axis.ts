// From values to the axis that shows them: linear or logarithmic, from where to where. Pure; knows no results.

import type { PlotAxis } from "./plot.js";

/** Values further apart than this share no linear axis: the small ones would lie on its zero. */
const LARGEST_LINEAR_RATIO = 50;
/** Room between a value and the edge of the plot. */
const MARGIN = 1.1;
/** Powers of ten that a float64 holds with room to spare. */
const SMALLEST_POWER = -300;
const LARGEST_POWER = 300;

/**
 * An axis for all values that are finite. A logarithmic one ends at powers of ten; what is 0 (or less, by rounding) lies
 * at its low end.
 * @param canBeLog whether the values are sizes, none of which is meant to be negative
 */
export function axisFor(values: readonly number[], unit: string, canBeLog: boolean): PlotAxis {
  const finite = values.filter(Number.isFinite);
  const positive = finite.filter((value) => value > 0);
  const smallest = positive.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const largest = positive.reduce((most, value) => Math.max(most, value), 0);
  if (canBeLog && largest > smallest * LARGEST_LINEAR_RATIO) {
    const zeroAtLow = positive.length < finite.length;
    const lowest = Math.floor(Math.log10(smallest / MARGIN)) - (zeroAtLow ? 1 : 0);
    const first = Math.min(Math.max(lowest, SMALLEST_POWER), LARGEST_POWER - 1);
    const highest = Math.ceil(Math.log10(largest) + Math.log10(MARGIN));
    const last = Math.min(Math.max(highest, first + 1), LARGEST_POWER);
    return { unit, scale: "log", low: powerOfTen(first), high: powerOfTen(last), zeroAtLow };
  }
  const least = finite.reduce((lowest, value) => Math.min(lowest, value), 0);
  const low = canBeLog ? 0 : least * MARGIN;
  return {
    unit,
    scale: "linear",
    low,
    high: largest > 0 ? Math.min(largest * MARGIN, Number.MAX_VALUE) : low + 1,
    zeroAtLow: false,
  };
}

/** Exactly the float64 that is nearest: `10 ** -4` is not. */
function powerOfTen(power: number): number {
  return Number(`1e${power}`);
}

/** Where a value lies on an axis; null when it lies nowhere. */
export function placeOn({ scale, low, high }: PlotAxis, value: number): number | null {
  if (!Number.isFinite(value)) return null;
  return scale === "log" ? Math.min(Math.max(value, low), high) : value;
}
