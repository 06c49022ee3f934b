// What few maxima leave open about location and scale, at a known shape: the posterior under the prior d(location) ·
// d(scale) / scale, as weighted points. Of a family of location and scale, that prior's predictions and intervals hold with
// exactly the stated probability, however few the maxima (Severini, Mukerjee and Ghosh 2002). Knows nothing of caches.

import { type BlockMaxima, curvatureOf, type ExtremeValues, fitAtShape, logLikelihood } from "./extreme-values.js";

export interface WeightedPoint extends ExtremeValues {
  readonly weight: number;
}

/**
 * The grid, in deviations of the normal approximation. The scale's posterior has the longer tail above. Steps below one
 * deviation integrate bell curves to more digits than are ever printed.
 */
const SCALE_GRID = { from: -4.8, to: 8, step: 0.8 } as const;
const LOCATION_GRID = { from: -5.6, to: 5.6, step: 0.8 } as const;
/** Every row of the grid begins elsewhere, so that levels, which mix both parameters, fall between each other. */
const ROW_SHIFT = (Math.sqrt(5) - 1) / 2;
/** Points that are lighter than this, relative to the mode, change nothing that is printed. */
const LIGHTEST = 1e-7;

/**
 * Distributions that may have made the maxima; their weights add up to one.
 * @param maxima with a few different values
 */
export function posteriorAt(maxima: BlockMaxima, shape: number): WeightedPoint[] {
  const mode = fitAtShape(maxima, shape);
  const peak = logLikelihood(maxima, mode);
  const [byLocation, mixed, byScale] = curvatureOf(maxima, mode).hessian;
  const locationDeviation = 1 / Math.sqrt(-byLocation); // in units of the scale
  const scaleDeviation = 1 / Math.sqrt((mixed * mixed) / byLocation - byScale); // of log(scale)
  const points: WeightedPoint[] = [];
  let row = 0;
  for (let s = SCALE_GRID.from; s <= SCALE_GRID.to; s += SCALE_GRID.step) {
    const stretch = scaleDeviation * s;
    const scale = mode.scale * Math.exp(stretch);
    const center = mode.location - scale * (mixed / byLocation) * stretch;
    const first = LOCATION_GRID.from + LOCATION_GRID.step * ((row++ * ROW_SHIFT) % 1);
    for (let t = first; t <= LOCATION_GRID.to; t += LOCATION_GRID.step) {
      const point = { location: center + scale * locationDeviation * t, scale, shape };
      // The location's step grows with the scale: d(location) d(log scale) = scale · constants · dt ds.
      const weight = Math.exp(logLikelihood(maxima, point) - peak + stretch);
      if (weight > LIGHTEST) points.push({ ...point, weight });
    }
  }
  const total = points.reduce((sum, { weight }) => sum + weight, 0);
  return points.map((point) => ({ ...point, weight: point.weight / total }));
}
