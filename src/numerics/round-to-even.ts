// The rounding of every number format here: to nearest, ties to even. Pure.

/** The nearest integer, ties to even. @param x not negative */
export function roundToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
