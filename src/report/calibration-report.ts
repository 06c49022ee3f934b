// The result of a calibration as people read it in a terminal of 80 columns, and as JSON for machines. Pure: text out.

import type { Colors } from "picocolors/types.js";
import { OUTPUT_FORMATS, type OutputFormat } from "../checkpoint/output-formats.js";
import { unreachedExperts } from "../numerics/expert-tokens.js";
import { FLOAT8_FORMATS } from "../numerics/float8.js";
import { layerRecords } from "../numerics/layer-records.js";
import type { CalibrationResult } from "../pipeline/calibrate.js";
import { resultJson } from "./result-json.js";
import { PATH_LIMIT, type Shown, shown } from "./shown-text.js";
import { formatBar, formatCount, formatValue } from "./text.js";
import { CONTINUED, wrapText, wrapWords } from "./wrapped-text.js";

const WIDTH = 80;
const BAR_WIDTH = 9;
const NUMBER_WIDTH = 10;

/** The table of layers, where the result is, how to start the engines, and the warnings. */
export function calibrationReport(result: CalibrationResult, colors: Colors, seconds: number): string {
  const safe = shown(result);
  return [
    layerTable(safe, colors),
    "",
    summaryLine(safe, seconds),
    ...expertsLine(safe),
    outputLine(safe, colors),
    ...engineLines(result, colors),
    ...safe.warnings.flatMap((warning) => [
      "",
      ...wrapText(`Warning: ${warning}`, WIDTH, CONTINUED).split("\n").map(colors.yellow),
    ]),
    "",
  ].join("\n");
}

function layerTable({ ranges, scales, format, dtype }: Shown<CalibrationResult>, colors: Colors): string {
  const { sharesScale }: OutputFormat = OUTPUT_FORMATS[format];
  const scaleTitles = sharesScale ? ["kv_scale"] : ["k_scale", "v_scale"];
  const title = [
    "layer",
    ...barredTitles(["K absmax", "V absmax"]),
    ...scaleTitles.map((t) => t.padStart(NUMBER_WIDTH)),
  ];
  const largest = Math.max(...ranges.flatMap(({ k, v }) => [k.absmax, v.absmax]));
  const limit = FLOAT8_FORMATS[dtype].largest;
  const rows = ranges.map(({ layer, k, v }, index) => {
    const scale = scales[index];
    const values = sharesScale ? [scale?.kvScale] : [scale?.kScale, scale?.vScale];
    const absmaxes = [k.absmax, v.absmax].map((absmax) => {
      // What exceeds the format's range at scale 1.0 is what makes a checkpoint without scales break.
      const paint = absmax > limit ? colors.red : (text: string) => text;
      const text = formatValue(absmax).padStart(NUMBER_WIDTH);
      return `${paint(text)} ${colors.cyan(formatBar(largest === 0 ? 0 : absmax / largest, BAR_WIDTH))}`;
    });
    return [
      String(layer).padStart(5),
      ...absmaxes,
      ...values.map((value) => formatValue(value ?? 1).padStart(NUMBER_WIDTH)),
    ];
  });
  return [colors.bold(title.join("  ")), ...rows.map((row) => row.join("  "))].map((line) => line.trimEnd()).join("\n");
}

function barredTitles(titles: readonly string[]): string[] {
  return titles.map((title) => `${title.padStart(NUMBER_WIDTH)} ${" ".repeat(BAR_WIDTH)}`);
}

function summaryLine(
  { ranges, samples, tokens, provider, computedIn }: Shown<CalibrationResult>,
  seconds: number,
): string {
  const where = provider === "cpu" ? provider : `${provider}, ${computedIn}`;
  return `${ranges.length} layers · ${formatCount(samples)} prompts · ${formatCount(tokens)} tokens · ${where} · ${seconds.toFixed(1)} s`;
}

function expertsLine({ experts }: Shown<CalibrationResult>): string[] {
  if (experts.length === 0) return [];
  const all = experts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const reached = all - experts.reduce((sum, layer) => sum + unreachedExperts(layer), 0);
  const layers = experts.length === 1 ? "1 layer" : `${experts.length} layers`;
  return [`${formatCount(reached)} of ${formatCount(all)} experts in ${layers} computed tokens of the prompts`];
}

function outputLine({ output, inPlace, format, dtype, placement }: Shown<CalibrationResult>, colors: Colors): string {
  const how = inPlace ? "added in place" : placement === "copy" ? "weights copied" : `weights by ${placement}`;
  return `${colors.bold(colors.green("Written to"))} ${output}\n           ${format}, ${dtype}, ${how}`;
}

function engineLines({ format, output }: CalibrationResult, colors: Colors): string[] {
  const { engines }: OutputFormat = OUTPUT_FORMATS[format];
  const folder = shellWord(output);
  return engines.flatMap(({ name, command }) => {
    // A line that the terminal would break inside a word is broken as a shell allows: never inside the quoted folder.
    const words = command.split(" ").map((word) => (word === "FOLDER" ? folder : word));
    const lines = wrapWords(words, WIDTH - 6).join(" \\\n    ");
    return ["", `${name}:`, colors.cyan(`  ${lines}`)];
  });
}

/** In quotes where a shell would read more than a name; characters that cannot be shown as bash and zsh write them. */
function shellWord(path: string): string {
  if (shown(path, PATH_LIMIT) !== path) return `$'${shown(path.replaceAll(/[\\']/g, "\\$&"), PATH_LIMIT)}'`;
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** The result for machines. Keys are stable. */
export function calibrationJson(result: CalibrationResult, seconds: number): string {
  const { engines }: OutputFormat = OUTPUT_FORMATS[result.format];
  const summary = {
    output: result.output,
    in_place: result.inPlace,
    model_type: result.modelType,
    format: result.format,
    dtype: result.dtype,
    headroom: result.headroom,
    provider: result.provider,
    computed_in: result.computedIn,
    samples: result.samples,
    tokens: result.tokens,
    seconds: Number(seconds.toFixed(3)),
    timing: {
      open_seconds: Number(result.timing.openSeconds.toFixed(3)),
      compute_seconds: Number(result.timing.computeSeconds.toFixed(3)),
    },
    placement: result.placement ?? null,
    engines: engines.map(({ name, command }) => ({ name, command: command.replace("FOLDER", () => result.output) })),
    warnings: result.warnings,
    layers: layerRecords(result.ranges, result.scales),
    ...(result.experts.length > 0 && { experts: result.experts }),
  };
  return resultJson(summary);
}
