// The result of a calibration as people read it in a terminal, and as JSON for machines. Pure: text out.

import { OUTPUT_FORMATS, type OutputFormat, type OutputFormatName } from "../checkpoint/output-formats.js";
import { counted, formatCount } from "../counted.js";
import { roundsRecord } from "../numerics/end-of-rounds.js";
import { unreachedExperts } from "../numerics/expert-tokens.js";
import { FLOAT8_FORMATS } from "../numerics/float8.js";
import { layerRecords, servingRecord } from "../numerics/layer-records.js";
import { quantizedWeightsRecord } from "../numerics/quantized-weights.js";
import type { CalibrationResult } from "../pipeline/calibration-result.js";
import { engineWords } from "./engine-words.js";
import { resultJson } from "./result-json.js";
import type { Screen } from "./screen.js";
import { servingLines } from "./serving-lines.js";
import { shellWord } from "./shell-word.js";
import { type Shown, shown } from "./shown-text.js";
import { type Column, tableLines } from "./table.js";
import { formatBar, formatValue } from "./text.js";
import { CONTINUED, wrapCommand, wrapText } from "./wrapped-text.js";

/** Above the bars: what a full one is. */
const BAR_TITLE = "of largest";

/** The table of layers, where the result is, how to start the engines, and the warnings. */
export function calibrationReport(result: CalibrationResult, screen: Screen, seconds: number): string {
  const { colors, width } = screen;
  const safe = shown(result);
  return [
    ...layerTable(safe, screen),
    "",
    wrapText(summaryLine(safe, seconds), width),
    ...[...expertsLine(safe), ...servingLines(safe)].map((line) => wrapText(line, width)),
    outputLine(safe, screen),
    ...engineLines(result, screen),
    ...safe.warnings.flatMap((warning) => [
      "",
      ...wrapText(`Warning: ${warning}`, width, CONTINUED).split("\n").map(colors.yellow),
    ]),
    ...conversionLines(result, screen),
    "",
  ].join("\n");
}

function layerTable({ ranges, scales, forecast, format, dtype }: Shown<CalibrationResult>, screen: Screen): string[] {
  const { sharesScale }: OutputFormat = OUTPUT_FORMATS[format];
  const largest = Math.max(...ranges.flatMap(({ k, v }) => [k.absmax, v.absmax]));
  const limit = FLOAT8_FORMATS[dtype].largest;
  const levels = forecast.kind === "levels" ? forecast.layers : undefined;
  const absmaxColumns = (side: "k" | "v"): Column[] => {
    const absmaxes = ranges.map((range) => range[side].absmax);
    // What exceeds the format's range at scale 1.0 is what makes a checkpoint without scales break.
    const paint = (absmax: number) => (absmax > limit ? screen.colors.red : undefined);
    const barOf = (absmax: number) => formatBar(largest === 0 ? 0 : absmax / largest, BAR_TITLE.length);
    return [
      {
        title: `${side.toUpperCase()} absmax`,
        cells: absmaxes.map((absmax) => ({ text: formatValue(absmax), paint: paint(absmax) })),
      },
      {
        title: BAR_TITLE,
        cells: absmaxes.map((absmax) => ({ text: barOf(absmax), paint: screen.colors.cyan })),
        isOptional: true,
      },
      ...(levels === undefined
        ? []
        : [{ title: `${side.toUpperCase()} level`, cells: levels.map((layer) => formatValue(layer[side].level)) }]),
    ];
  };
  const scaleColumn = (title: string, kind: "kvScale" | "kScale" | "vScale"): Column => ({
    title,
    cells: ranges.map((_, index) => formatValue(scales[index]?.[kind] ?? 1)),
  });
  return tableLines(
    [
      { title: "layer", cells: ranges.map(({ layer }) => String(layer)) },
      ...absmaxColumns("k"),
      ...absmaxColumns("v"),
      ...(sharesScale
        ? [scaleColumn("kv_scale", "kvScale")]
        : [scaleColumn("k_scale", "kScale"), scaleColumn("v_scale", "vScale")]),
    ],
    screen,
  );
}

function summaryLine(
  { ranges, samples, tokens, provider, computedIn }: Shown<CalibrationResult>,
  seconds: number,
): string {
  const where = provider === "cpu" ? provider : `${provider}, ${computedIn}`;
  const isHybrid = ranges.some(({ layer }, index) => layer !== index);
  const layers = `${counted(ranges.length, "layer")}${isHybrid ? " with attention" : ""}`;
  return `${layers} · ${counted(samples, "prompt")} · ${counted(tokens, "token")} · ${where} · ${seconds.toFixed(1)} s`;
}

function expertsLine({ experts }: Shown<CalibrationResult>): string[] {
  if (experts.length === 0) return [];
  const all = experts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const reached = all - experts.reduce((sum, layer) => sum + unreachedExperts(layer), 0);
  const where = counted(experts.length, "layer");
  return [`${formatCount(reached)} of ${counted(all, "expert")} in ${where} computed tokens of the prompts`];
}

function outputLine(
  { output, inPlace, onto, format, dtype, placement }: Shown<CalibrationResult>,
  { colors, width }: Screen,
): string {
  const whose = onto === undefined || inPlace ? "" : ` of ${onto}`;
  const how = inPlace ? "added in place" : `weights${whose} ${placement === "copy" ? "copied" : `by ${placement}`}`;
  return `${colors.bold(colors.green("Written to"))} ${output}\n${CONTINUED}${wrapText(`${format}, ${dtype}, ${how}`, width, CONTINUED)}`;
}

function engineLines({ engines, output }: CalibrationResult, { colors, width }: Screen): string[] {
  // A line that the terminal would break inside a word is broken as a shell allows: never inside the quoted folder.
  return engines.flatMap((engine) => [
    "",
    `${engine.name}:`,
    colors.cyan(wrapCommand(engineWords(engine, output), width)),
  ]);
}

interface ConvertibleResult {
  readonly output: string;
  readonly convertTo?: OutputFormatName | undefined;
}

/** The command that converts a result for engines that do not read its format; empty if there is none. */
export function conversionLines({ convertTo, output }: ConvertibleResult, { colors, width }: Screen): string[] {
  if (convertTo === undefined) return [];
  const engines = OUTPUT_FORMATS[convertTo].engines.map(({ name }) => name).join(", ");
  const words = ["create-kv-scales", "convert", shellWord(output), "--format", convertTo];
  return ["", `For ${engines}:`, colors.cyan(wrapCommand(words, width))];
}

/** The result for machines. Keys are stable. */
export function calibrationJson(result: CalibrationResult, seconds: number): string {
  const summary = {
    output: result.output,
    in_place: result.inPlace,
    ...(result.onto !== undefined && { onto: result.onto }),
    model_type: result.modelType,
    format: result.format,
    dtype: result.dtype,
    headroom: result.headroom,
    ...servingRecord(result.serving, result.forecast),
    provider: result.provider,
    computed_in: result.computedIn,
    samples: result.samples,
    ...roundsRecord(result.rounds),
    tokens: result.tokens,
    seconds: Number(seconds.toFixed(3)),
    timing: {
      open_seconds: Number(result.timing.openSeconds.toFixed(3)),
      compute_seconds: Number(result.timing.computeSeconds.toFixed(3)),
    },
    placement: result.placement ?? null,
    engines: result.engines.map(({ name, command }) => ({
      name,
      command: command.replace("FOLDER", () => result.output),
    })),
    warnings: result.warnings,
    ...quantizedWeightsRecord(result.quantizedWeights),
    layers: layerRecords(result.ranges, result.scales, result.forecast),
    ...(result.experts.length > 0 && { experts: result.experts }),
    ...(result.notMeasured.length > 0 && { not_measured: result.notMeasured }),
  };
  return resultJson(summary);
}
