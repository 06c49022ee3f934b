// The JSON record of each layer, and of what its levels are for, in kv_scales.json and in --json. Pure.

import type { LayerForecast } from "./layer-levels.js";
import type { LayerRange } from "./ranges.js";
import type { LayerScales } from "./scales.js";
import type { ServingLevel, ServingQuestion } from "./serving-levels.js";

/** Ranges, scales and levels of all layers with their names in JSON. */
export function layerRecords(ranges: readonly LayerRange[], scales: readonly LayerScales[], forecast: LayerForecast) {
  const levels = forecast.kind === "levels" ? forecast.layers : [];
  return ranges.map(({ layer, k, v }, index) => ({
    layer,
    k_absmax: k.absmax,
    v_absmax: v.absmax,
    k_scale: scales[index]?.kScale,
    v_scale: scales[index]?.vScale,
    kv_scale: scales[index]?.kvScale,
    ...levelRecord("k", levels[index]?.k),
    ...levelRecord("v", levels[index]?.v),
    k_absmax_per_head: k.perHead,
    v_absmax_per_head: v.perHead,
  }));
}

function levelRecord(side: "k" | "v", level: ServingLevel | undefined): Readonly<Record<string, unknown>> {
  if (level === undefined) return {};
  return {
    [`${side}_level`]: level.level,
    [`${side}_level_interval`]: level.interval,
    [`${side}_exceeding`]: level.exceeding,
  };
}

/** What levels are for, and the shape of the tails they come from, or why there are none. */
export function servingRecord(
  { tokens, exceedance }: ServingQuestion,
  forecast: LayerForecast,
): Record<string, number | string> {
  const found = forecast.kind === "levels" ? { level_shape: forecast.shape } : { no_levels: forecast.why };
  return { serving_tokens: tokens, exceedance, ...found };
}
