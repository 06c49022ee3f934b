// The quantile of Student's t distribution that a 95 % interval needs. Pure; knows no data.

/** The probability between −t and t. */
const INSIDE = 0.95;
/** From here on it is the normal distribution's to 0.1 %, and sums are long. */
const LARGEST_DEGREES = 1000;

const known = new Map<number, number>();

/**
 * The t that 95 % of a Student distribution lie within, on both sides of 0: 12.7 for one degree of freedom, 1.96 for
 * many. Found by bisection of the finite sums for whole degrees (Abramowitz and Stegun, 26.7.3 and 26.7.4).
 * @param degrees of freedom, a whole number; Infinity for fewer than one, and those above 1,000 count as 1,000
 */
export function studentT95(degrees: number): number {
  if (!(degrees >= 1)) return Number.POSITIVE_INFINITY;
  const counted = Math.min(degrees, LARGEST_DEGREES);
  const found = known.get(counted) ?? Math.sqrt(counted) * Math.tan(angleInside(counted));
  known.set(counted, found);
  return found;
}

/** The angle θ = atan(t / √degrees) whose t holds the probability. */
function angleInside(degrees: number): number {
  let low = 0;
  let high = Math.PI / 2;
  for (let middle = high / 2; middle > low && middle < high; middle = (low + high) / 2) {
    if (probabilityInside(middle, degrees) < INSIDE) low = middle;
    else high = middle;
  }
  return low;
}

/** The probability between −t and t for t = √degrees · tan θ. */
function probabilityInside(theta: number, degrees: number): number {
  const isOdd = degrees % 2 === 1;
  const cosine = Math.cos(theta);
  let term = isOdd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let power = isOdd ? 3 : 2; power <= degrees - 2; power += 2) {
    term *= (cosine ** 2 * (power - 1)) / power;
    sum += term;
  }
  return isOdd ? (2 / Math.PI) * (theta + Math.sin(theta) * sum) : Math.sin(theta) * sum;
}
