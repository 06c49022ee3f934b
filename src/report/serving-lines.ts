// What a calibration says of serving: how far it is expected to exceed what was written, and what headroom "auto" writes.
// Pure: text out.

import { OUTPUT_FORMATS, type OutputFormat } from "../checkpoint/output-formats.js";
import { counted, formatCount } from "../counted.js";
import { formatLimit } from "../metrics/figures.js";
import { FLOAT8_FORMATS } from "../numerics/float8.js";
import type { LayerLevels } from "../numerics/layer-levels.js";
import { medianOf } from "../numerics/median.js";
import { LARGEST_HEADROOM } from "../numerics/serving-levels.js";
import type { CalibrationResult } from "../pipeline/calibration-result.js";
import type { Shown } from "./shown-text.js";

/** More than rounding: a level that was written is not exceeded by itself. */
const ROUNDING = 1e-6;

/** Sentences for the report. */
export function servingLines(result: Shown<CalibrationResult>): string[] {
  return [...roundsLine(result), forecastLine(result)];
}

function roundsLine({ rounds, samples }: Shown<CalibrationResult>): string[] {
  if (rounds === undefined || !rounds.isEnough || samples === rounds.of) return [];
  return [
    `Stopped after ${formatCount(samples)} of ${counted(rounds.of, "prompt")}: more would change no level that matters.`,
  ];
}

function forecastLine(result: Shown<CalibrationResult>): string {
  const { forecast, serving, headroom } = result;
  if (forecast.kind === "too-few") return `Too little text to tell what serving exceeds: ${forecast.why}.`;
  const { layers } = forecast;
  const tokens = `Serving ${counted(serving.tokens, "token")}`;
  const share = formatLimit(serving.exceedance);
  const factor = `${medianOf(factorsOf(layers, result)).toFixed(2)} × the absmax on median`;
  const sides = layers.flatMap(({ k, v }) => [k, v]);
  if (headroom === "auto") {
    const capped = sides.filter(({ level, measured }) => level > 0 && level >= LARGEST_HEADROOM * measured).length;
    const limit =
      capped === 0 ? "" : `; ${capped} of ${sides.length} K and V need more than the limit of ${LARGEST_HEADROOM} ×`;
    return `${tokens} exceeds each level with a probability of ${share}: scales are for these, ${factor}${limit}.`;
  }
  const ratios = writtenRanges(result).flatMap(({ k, v }, index) => {
    const levels = layers[index];
    return levels === undefined ? [] : [levels.k.level / k, levels.v.level / v];
  });
  const beyond = ratios.filter((ratio) => ratio > 1 + ROUNDING);
  if (beyond.length === 0) {
    return `${tokens} exceeds the range of none of ${sides.length} K and V with a probability above ${share}.`;
  }
  const most = Math.round((Math.max(...beyond) - 1) * 100);
  const by = most === 0 ? "by less than 1 %" : `by up to ${most} %`;
  return `${tokens} exceeds the range of ${beyond.length} of ${sides.length} K and V with a probability above ${share}, ${by}; --headroom auto would write ${factor}.`;
}

/** What the scales of each layer hold. */
function writtenRanges({ scales, format, dtype }: Shown<CalibrationResult>) {
  const { sharesScale }: OutputFormat = OUTPUT_FORMATS[format];
  const { scaleDivisor } = FLOAT8_FORMATS[dtype];
  return scales.map(({ kScale, vScale, kvScale }) => ({
    k: scaleDivisor * (sharesScale ? kvScale : kScale),
    v: scaleDivisor * (sharesScale ? kvScale : vScale),
  }));
}

/** Level divided by absmax, of each scale that the format has. */
function factorsOf(layers: readonly LayerLevels[], { format }: Pick<CalibrationResult, "format">): number[] {
  const { sharesScale }: OutputFormat = OUTPUT_FORMATS[format];
  const pairs = layers.flatMap(({ k, v }) =>
    sharesScale
      ? [[Math.max(k.level, v.level), Math.max(k.measured, v.measured)] as const]
      : [k, v].map((side) => [side.level, side.measured] as const),
  );
  return pairs.map(([level, measured]) => (measured === 0 ? 1 : level / measured));
}
