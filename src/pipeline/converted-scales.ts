// Computes the scales of a checkpoint for another format or FP8 dtype, from the absmax that its calibration recorded,
// or from its scale tensors. Pure.

import type { ScalesAsRead, ScaleTensor } from "../checkpoint/read-scales.js";
import { roundUpToBfloat16 } from "../numerics/bits16.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import { computeLayerScales, type LayerScales } from "../numerics/scales.js";
import type { RecordedLayer, ScaleRecord } from "./scale-record.js";

const SMALLEST_NORMAL_FLOAT32 = 2 ** -126;

/**
 * The scales that a calibration for `dtype` would give. Undefined unless the record has the absmax of every layer and
 * agrees with the tensors.
 * @param layers numbers of the decoder layers that have attention
 */
export function scalesFromRecord(
  record: ScaleRecord,
  tensors: readonly ScaleTensor[],
  layers: readonly number[],
  from: Float8Name,
  to: Float8Name,
): LayerScales[] | undefined {
  const isAuto = record.headroom === "auto";
  const headroom = record.headroom === "auto" ? 1 : record.headroom;
  if (record.dtype !== from || headroom === undefined || !(headroom >= 1 && headroom <= 16)) return undefined;
  const entryOf = (layer: number) => record.layers.find((entry) => entry.layer === layer);
  const recorded = layers.map((layer) => largestOf(entryOf(layer), isAuto));
  const known = recorded.flatMap((entry) => entry ?? []);
  if (known.length < layers.length) return undefined;
  const before = new Map(known.map((entry) => [entry.layer, computeLayerScales(entry.layer, entry, from, headroom)]));
  const isConsistent = tensors.every(({ layer, kind, values }) => {
    const scales = layer === undefined ? undefined : before.get(layer);
    // Beside quantized weights they may be rounded up to the type that an engine keeps them in.
    const exact = scales && byName(scales)[kind];
    return exact !== undefined && (values?.[0] === exact || values?.[0] === roundUpToBfloat16(exact));
  });
  return isConsistent ? known.map((entry) => computeLayerScales(entry.layer, entry, to, headroom)) : undefined;
}

/** What the scales of a layer are for: its levels, or its absmax. Only what is finite gives a float32 scale. */
function largestOf(
  { layer, ...entry }: Partial<RecordedLayer> = {},
  isAuto: boolean,
): { layer: number; k: number; v: number } | undefined {
  const [k, v] = isAuto ? [entry.k_level, entry.v_level] : [entry.k_absmax, entry.v_absmax];
  if (layer === undefined || !isAbsmax(k) || !isAbsmax(v)) return undefined;
  return { layer, k, v };
}

function isAbsmax(value: number | undefined): value is number {
  return value !== undefined && value >= 0 && value < 2 ** 127;
}

function byName({ kScale, vScale, kvScale }: LayerScales): Record<ScaleTensor["kind"], number> {
  return { k_scale: kScale, v_scale: vScale, kv_scale: kvScale };
}

/**
 * The scales as engines read them, for another dtype: the divisors of the formats differ by a factor of two, which is exact.
 * kv_scale is the larger of a layer's two.
 */
export function scalesFromTensors({ layers: scales }: ScalesAsRead, from: Float8Name, to: Float8Name): LayerScales[] {
  const factor = FLOAT8_FORMATS[from].scaleDivisor / FLOAT8_FORMATS[to].scaleDivisor;
  const convert = (scale: number) => Math.max(scale * factor, SMALLEST_NORMAL_FLOAT32);
  return scales.map(({ layer, kScale, vScale }) => {
    const [k, v] = [convert(kScale), convert(vScale)];
    return { layer, kScale: k, vScale: v, kvScale: Math.max(k, v) };
  });
}
