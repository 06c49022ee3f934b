// Quantiles of the normal distribution: converts shares of activations, as in config.json, to standard deviations, as
// in the graph. Knows no model.

const ENOUGH_TERMS = 500;
const NEWTON_STEPS = 100;

/** P(X ≤ z) of a standard normal X, by the series of Marsaglia (2004): exact to the last bits for |z| < 6. */
function normalShare(z: number): number {
  let term = z;
  let sum = z;
  for (let power = 3; power < ENOUGH_TERMS; power += 2) {
    term *= (z * z) / power;
    sum += term;
  }
  return 0.5 + sum * normalDensity(z);
}

function normalDensity(z: number): number {
  return Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
}

/** z with P(X ≤ z) = share, by Newton's method from 0, which converges monotonically. @param share in (0, 1) */
export function normalQuantile(share: number): number {
  let z = 0;
  for (let step = 0; step < NEWTON_STEPS; step++) {
    const change = (normalShare(z) - share) / normalDensity(z);
    z -= change;
    if (Math.abs(change) < 1e-15) break;
  }
  return z;
}
