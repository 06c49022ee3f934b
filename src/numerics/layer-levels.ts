// The levels of serving by layer, from the ranges of a calibration. Joins layers and sides with the statistics of
// serving-levels.ts; knows no scales.

import type { LayerRange } from "./ranges.js";
import { forecastServing, type ServingForecast, type ServingLevel, type ServingQuestion } from "./serving-levels.js";

/** The levels of a layer's cache. */
export interface LayerLevels {
  /** Number of the decoder layer, from 0. */
  readonly layer: number;
  /** Of K. */
  readonly k: ServingLevel;
  /** Of V. */
  readonly v: ServingLevel;
}

/** What serving is expected to bring to each layer, or why nothing can be said of it. */
export type LayerForecast =
  | { readonly kind: "levels"; readonly layers: readonly LayerLevels[]; readonly shape: number }
  | { readonly kind: "too-few"; readonly why: string };

/** @param lengths tokens of each prompt, in the order of the ranges' maxima per prompt */
export function forecastLayers(
  ranges: readonly LayerRange[],
  lengths: readonly number[],
  question: ServingQuestion,
): LayerForecast {
  const forecast = forecastSides(ranges, lengths, question);
  if (forecast.kind === "too-few") return forecast;
  const levelOf = (side: number) => {
    const level = forecast.levels[side];
    if (level === undefined) throw new RangeError(`no level of side ${side}`);
    return level;
  };
  const layers = ranges.map(({ layer }, index) => ({ layer, k: levelOf(2 * index), v: levelOf(2 * index + 1) }));
  return { kind: "levels", layers, shape: forecast.shape };
}

/** As forecastLayers, in the order K, V of each layer. */
export function forecastSides(
  ranges: readonly LayerRange[],
  lengths: readonly number[],
  question: ServingQuestion,
): ServingForecast {
  const sides = ranges.flatMap(({ k, v }) => [k.perPrompt, v.perPrompt]);
  return forecastServing(sides, lengths, question);
}
