// The result of a conversion as people read it in a terminal, and as JSON for machines. Pure: text out.

import { counted } from "../counted.js";
import type { Conversion } from "../pipeline/convert.js";
import { conversionLines } from "./calibration-report.js";
import { resultJson } from "./result-json.js";
import type { Screen } from "./screen.js";
import { shown } from "./shown-text.js";
import { formatValue } from "./text.js";
import { CONTINUED, wrapText } from "./wrapped-text.js";

/** What was made of what, where it is, and the warnings. */
export function conversionReport(conversion: Conversion, screen: Screen): string {
  const { colors, width } = screen;
  const { scales, output, inPlace, onto, placement, format, dtype, fromDtype, source, warnings } = shown(conversion);
  const whose = onto === undefined || inPlace ? "" : ` of ${onto}`;
  const inFolder = onto === undefined ? "replaced in place" : "added in place";
  const how = inPlace ? inFolder : `weights${whose} ${placement === "copy" ? "copied" : `by ${placement}`}`;
  const origin = source === "absmax" ? "the absmax that kv_scales.json has recorded" : source;
  const values = scales.flatMap(({ kScale, vScale }) => [kScale, vScale]);
  return [
    wrapText(`${counted(scales.length, "layer")} · ${fromDtype} → ${dtype} · from ${origin}`, width),
    `k and v scales from ${formatValue(Math.min(...values))} to ${formatValue(Math.max(...values))}`,
    `${colors.bold(colors.green("Written to"))} ${output}`,
    `${CONTINUED}${wrapText(`${format}, ${dtype}, ${how}`, width, CONTINUED)}`,
    ...warnings.flatMap((warning) => ["", colors.yellow(wrapText(`Warning: ${warning}`, width, CONTINUED))]),
    ...conversionLines(conversion, screen),
    "",
  ].join("\n");
}

/** The result for machines. Keys are stable. */
export function conversionJson(conversion: Conversion): string {
  const { output, inPlace, onto, source, fromDtype, format, dtype, placement, scales, warnings } = conversion;
  const layers = scales.map(({ layer, kScale, vScale, kvScale }) => ({
    layer,
    k_scale: kScale,
    v_scale: vScale,
    kv_scale: kvScale,
  }));
  const summary = {
    output,
    in_place: inPlace,
    ...(onto !== undefined && { onto }),
    source,
    from_dtype: fromDtype,
    format,
    dtype,
    placement: placement ?? null,
    warnings,
    layers,
  };
  return resultJson(summary);
}
