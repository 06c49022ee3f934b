// The rounding of every number format here: to nearest, and halfway to the even neighbour. Pure.

/** The nearest whole number; of two equally near ones the even one. @param x not negative */
export function roundToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
