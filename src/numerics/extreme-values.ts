// The generalised extreme value distribution of maxima over blocks of unequal size: likelihood, and fits by maximum
// likelihood. Knows nothing of caches: a maximum is a number.

/** Maxima of blocks, the lowest of them known only to be at most a threshold. */
export interface BlockMaxima {
  /** The maxima above the threshold. */
  readonly values: readonly number[];
  /** Size of the block of each value, in units of which `location` and `scale` of a distribution speak. */
  readonly sizes: readonly number[];
  /** Maxima of the other blocks are at most this; their sizes added up are `censoredSize`, 0 without such blocks. */
  readonly threshold: number;
  readonly censoredSize: number;
}

/**
 * The largest of a block of size 1 is at most x with probability exp(−(1 + shape · z)^(−1 / shape)), z = (x − location) /
 * scale; exp(−exp(−z)) where shape is 0 (Gumbel). A block of size n is n of them: the exponent times n.
 */
export interface ExtremeValues {
  readonly location: number;
  readonly scale: number;
  readonly shape: number;
}

/** Shapes nearer to 0 are 0: the formula would lose all digits. */
const SMALLEST_SHAPE = 1e-9;

/** −log of the expected number of exceedances per unit of size: y(z) = log(1 + shape · z) / shape. */
export function reducedVariate(z: number, shape: number): number {
  if (Math.abs(shape) < SMALLEST_SHAPE) return z;
  const base = 1 + shape * z;
  // Beyond the end of the support: below a lower end everything exceeds, above an upper end nothing does.
  if (base <= 0) return shape > 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Math.log(base) / shape;
}

/** The inverse of reducedVariate. */
export function fromReducedVariate(y: number, shape: number): number {
  return Math.abs(shape) < SMALLEST_SHAPE ? y : Math.expm1(shape * y) / shape;
}

/** The level that the largest of a block of that size exceeds with a probability. */
export function quantileOf({ location, scale, shape }: ExtremeValues, size: number, exceedance: number): number {
  return location + scale * fromReducedVariate(Math.log(size / -Math.log1p(-exceedance)), shape);
}

/** log likelihood less Σ log size, which no parameter changes; −Infinity where the maxima are impossible. */
export function logLikelihood(maxima: BlockMaxima, { location, scale, shape }: ExtremeValues): number {
  const { values, sizes, threshold, censoredSize } = maxima;
  let sum = -values.length * Math.log(scale);
  for (let index = 0; index < values.length; index++) {
    const size = sizes[index] ?? Number.NaN;
    const y = reducedVariate(((values[index] ?? Number.NaN) - location) / scale, shape);
    if (!Number.isFinite(y)) return Number.NEGATIVE_INFINITY;
    sum -= (1 + shape) * y + size * Math.exp(-y);
  }
  if (censoredSize === 0) return sum;
  return sum - censoredSize * Math.exp(-reducedVariate((threshold - location) / scale, shape));
}

/** First and second derivatives of log likelihood by location / scale and by log(scale), at a fixed shape. */
export interface Curvature {
  readonly gradient: readonly [location: number, logScale: number];
  readonly hessian: readonly [location: number, mixed: number, logScale: number];
}

export function curvatureOf(maxima: BlockMaxima, { location, scale, shape }: ExtremeValues): Curvature {
  const { values, sizes, threshold, censoredSize } = maxima;
  let [g, zg, dg, zdg, zzdg] = [0, 0, 0, 0, 0];
  const add = (x: number, size: number, isExact: boolean) => {
    const z = (x - location) / scale;
    const y = reducedVariate(z, shape);
    const slope = Math.exp(-shape * y); // dy/dz
    const rate = size * Math.exp(-y);
    const first = slope * (rate - (isExact ? 1 + shape : 0)); // d log likelihood / dz
    const second = -slope * (shape * first + slope * rate);
    g += first;
    zg += z * first;
    dg += second;
    zdg += z * second;
    zzdg += z * z * second;
  };
  for (let index = 0; index < values.length; index++) add(values[index] ?? 0, sizes[index] ?? 0, true);
  if (censoredSize > 0) add(threshold, censoredSize, false);
  return { gradient: [-g, -values.length - zg], hessian: [dg, g + zdg, zg + zzdg] };
}

/** Steps of Newton's method at most: it takes five to ten. */
const MAX_STEPS = 100;
/** A step that changes parameters by less, in units of the scale, is the last. */
const SMALL_STEP = 1e-9;

/**
 * Location and scale of the largest likelihood at a fixed shape, by Newton's method with halved steps.
 * @param maxima with at least two different values
 */
export function fitAtShape(maxima: BlockMaxima, shape: number): ExtremeValues {
  let fit = startOf(maxima, shape);
  let likelihood = logLikelihood(maxima, fit);
  for (let step = 0; step < MAX_STEPS; step++) {
    const [move, stretch] = newtonStep(curvatureOf(maxima, fit));
    let fraction = Math.min(1, 1 / Math.abs(stretch));
    let next = moved(fit, fraction * move, fraction * stretch);
    let nextLikelihood = logLikelihood(maxima, next);
    while (!(nextLikelihood >= likelihood) && fraction > SMALL_STEP) {
      fraction /= 2;
      next = moved(fit, fraction * move, fraction * stretch);
      nextLikelihood = logLikelihood(maxima, next);
    }
    if (!(nextLikelihood >= likelihood)) return fit;
    [fit, likelihood] = [next, nextLikelihood];
    if (Math.max(Math.abs(move), Math.abs(stretch)) < SMALL_STEP) return fit;
  }
  return fit;
}

function moved({ location, scale, shape }: ExtremeValues, move: number, stretch: number): ExtremeValues {
  return { location: location + scale * move, scale: scale * Math.exp(stretch), shape };
}

/** Uphill where likelihood is not concave: then along the gradient. */
function newtonStep({ gradient: [a, b], hessian: [aa, ab, bb] }: Curvature): [number, number] {
  const determinant = aa * bb - ab * ab;
  if (aa < 0 && determinant > 0) return [(ab * b - bb * a) / determinant, (ab * a - aa * b) / determinant];
  const length = Math.hypot(a, b);
  return length === 0 ? [0, 0] : [(0.1 * a) / length, (0.1 * b) / length];
}

/** By the mean and deviation of Gumbel's distribution, wide enough for all values to be possible. */
function startOf({ values, sizes, threshold, censoredSize }: BlockMaxima, shape: number): ExtremeValues {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count;
  const size = sizes.reduce((sum, value) => sum + value, 0) / count;
  const scale = (Math.sqrt(6 * variance) / Math.PI) * (1 + Math.abs(shape));
  const location = mean - scale * (0.5772 + Math.log(size));
  const lowest = censoredSize > 0 ? threshold : Math.min(...values);
  const ends = [lowest, Math.max(...values)].map((value) => -shape * (value - location));
  return { location, scale: Math.max(scale, ...ends.map((end) => 2 * end)), shape };
}

/** Shapes among which the largest likelihood is looked for: beyond −0.5, likelihood has no regular maximum. */
const SHAPES = [-0.5, 1] as const;
const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;
const SHAPE_DIGITS = 1e-7;

/** Location, scale and shape of the largest likelihood, the shape within −0.5 and 1. @param maxima as for fitAtShape */
export function fitExtremeValues(maxima: BlockMaxima): ExtremeValues {
  const profile = (shape: number) => {
    const fit = fitAtShape(maxima, shape);
    return { fit, likelihood: logLikelihood(maxima, fit) };
  };
  let [low, high]: [number, number] = [...SHAPES];
  let left = profile(high - GOLDEN_RATIO * (high - low));
  let right = profile(low + GOLDEN_RATIO * (high - low));
  while (high - low > SHAPE_DIGITS) {
    if (left.likelihood > right.likelihood) {
      high = right.fit.shape;
      right = left;
      left = profile(high - GOLDEN_RATIO * (high - low));
    } else {
      low = left.fit.shape;
      left = right;
      right = profile(low + GOLDEN_RATIO * (high - low));
    }
  }
  return left.likelihood > right.likelihood ? left.fit : right.fit;
}
