// The scales of a calibration: each layer's, for its absmax with room by a factor, or for the level that serving seldom
// exceeds. Knows no output format.

import { CheckpointError, PromptDataError } from "../errors.js";
import type { Float8Name } from "../numerics/float8.js";
import type { LayerForecast } from "../numerics/layer-levels.js";
import type { LayerRange } from "../numerics/ranges.js";
import { computeLayerScales, type LayerScales } from "../numerics/scales.js";
import { fewPrompts } from "../numerics/serving-levels.js";

interface ScaleSettings {
  readonly dtype: Float8Name;
  readonly headroom: number | "auto";
}

/**
 * The scales of all layers.
 * @param forecast of the same layers, for headroom "auto"
 * @throws PromptDataError for headroom "auto" when the prompts are too few for levels, CheckpointError for an absmax that no
 * scale holds
 */
export function scaleLayers(
  ranges: readonly LayerRange[],
  forecast: LayerForecast,
  { dtype, headroom }: ScaleSettings,
): LayerScales[] {
  if (headroom !== "auto") {
    return ranges.map(({ layer, k, v }) => scaleLayer(layer, { k: k.absmax, v: v.absmax }, dtype, headroom));
  }
  if (forecast.kind === "too-few") throw tooFewPrompts(forecast.why);
  return forecast.layers.map(({ layer, k, v }) => scaleLayer(layer, { k: k.level, v: v.level }, dtype, 1));
}

/**
 * Refuses what scaleLayers would refuse, before anything is measured.
 * @param lengths tokens of each prompt
 * @throws PromptDataError
 */
export function requireTextForLevels(lengths: readonly number[], { headroom }: Pick<ScaleSettings, "headroom">): void {
  const few = headroom === "auto" ? fewPrompts(lengths) : undefined;
  if (few !== undefined) throw tooFewPrompts(few.why);
}

/** @param why what was expected, and what was found */
function tooFewPrompts(why: string): PromptDataError {
  return new PromptDataError(
    `--headroom auto: too little text to tell what serving exceeds: ${why}. Give more prompts (--data, --samples), or a factor, such as --headroom 1.5.`,
  );
}

function scaleLayer(
  layer: number,
  absmax: { readonly k: number; readonly v: number },
  dtype: Float8Name,
  headroom: number,
): LayerScales {
  try {
    return computeLayerScales(layer, absmax, dtype, headroom);
  } catch (cause) {
    throw new CheckpointError(`Layer ${layer}: no scale can be computed: absmax of K ${absmax.k}, of V ${absmax.v}`, {
      cause,
    });
  }
}
