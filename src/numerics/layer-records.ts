// The JSON record of each layer, in kv_scales.json and in --json. Pure.

import type { LayerRange } from "./ranges.js";
import type { LayerScales } from "./scales.js";

/** Ranges and scales of all layers with their names in JSON. */
export function layerRecords(ranges: readonly LayerRange[], scales: readonly LayerScales[]) {
  return ranges.map(({ layer, k, v }, index) => ({
    layer,
    k_absmax: k.absmax,
    v_absmax: v.absmax,
    k_scale: scales[index]?.kScale,
    v_scale: scales[index]?.vScale,
    kv_scale: scales[index]?.kvScale,
    k_absmax_per_head: k.perHead,
    v_absmax_per_head: v.perHead,
  }));
}
