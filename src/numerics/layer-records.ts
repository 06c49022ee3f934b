// What is written of each layer for people who read JSON: in kv_scales.json and on stdout alike. Pure.

import type { LayerRange } from "./ranges.js";
import type { LayerScales } from "./scales.js";

/** Ranges and scales of all layers under the names that JSON has for them. */
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
