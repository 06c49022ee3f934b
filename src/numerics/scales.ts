// Computes the scales that engines read from the absmax of a layer's K and V. Pure; knows no file format.

import { FLOAT8_FORMATS, type Float8Name } from "./float8.js";

export interface LayerScales {
  /** Number of the decoder layer, from 0. */
  readonly layer: number;
  /** The cache stores K divided by this. */
  readonly kScale: number;
  /** The cache stores V divided by this. */
  readonly vScale: number;
  /** The scale of formats with a single `kv_scale`: the larger of the two. */
  readonly kvScale: number;
}

const SMALLEST_NORMAL_FLOAT32 = 2 ** -126;

/** The smallest float32 that is not below x. @throws RangeError when x is beyond float32. */
export function roundUpToFloat32(x: number): number {
  const nearest = Math.fround(x);
  if (nearest >= x) {
    if (!Number.isFinite(nearest)) throw new RangeError(`${x} is beyond float32`);
    return nearest;
  }
  const bits = new Int32Array(new Float32Array([nearest]).buffer);
  const up = new Float32Array(new Int32Array([(bits[0] ?? 0) + (nearest >= 0 ? 1 : -1)]).buffer)[0] ?? Number.NaN;
  if (!Number.isFinite(up)) throw new RangeError(`${x} is beyond float32`);
  return up;
}

/**
 * absmax × headroom / divisor, computed in float64 and rounded up to float32, so that absmax / scale never exceeds the
 * largest value of the format. An absmax of 0 gives 1, which engines use without scales. A scale is at least the
 * smallest normal float32.
 * @throws RangeError when absmax is not finite and non-negative, or the scale is beyond float32
 */
export function computeScale(absmax: number, dtype: Float8Name, headroom: number): number {
  if (!Number.isFinite(absmax) || absmax < 0) throw new RangeError(`absmax ${absmax} is not finite and non-negative`);
  if (!Number.isFinite(headroom) || headroom <= 0) throw new RangeError(`headroom ${headroom} is not positive`);
  if (absmax === 0) return 1;
  const scale = roundUpToFloat32((absmax * headroom) / FLOAT8_FORMATS[dtype].scaleDivisor);
  // Engines divide by the scale: a subnormal one is flushed to zero on many devices.
  return Math.max(scale, SMALLEST_NORMAL_FLOAT32);
}

/** The scales of one layer from its absmax of K and of V. */
export function computeLayerScales(
  layer: number,
  absmax: { readonly k: number; readonly v: number },
  dtype: Float8Name,
  headroom: number,
): LayerScales {
  const kScale = computeScale(absmax.k, dtype, headroom);
  const vScale = computeScale(absmax.v, dtype, headroom);
  // A side of zeros must not change the shared scale: if one absmax is 0, the shared scale is that of the other side.
  const kvScale = computeScale(Math.max(absmax.k, absmax.v), dtype, headroom);
  return { layer, kScale, vScale, kvScale };
}
