// The result of an inspection as people read it in a terminal, and as JSON for machines. Pure: text out.

import { counted } from "../counted.js";
import type { InspectedEngine, Inspection } from "../pipeline/inspect.js";
import { resultJson } from "./result-json.js";
import type { Screen } from "./screen.js";
import { type Shown, type ShownText, shown } from "./shown-text.js";
import { tableLines } from "./table.js";
import { formatValue } from "./text.js";
import { CONTINUED, wrapText } from "./wrapped-text.js";

const ENGINE_WIDTH = 24;
const USE_WIDTH = 9;
/** Columns for the reason, beside the engine's name; with fewer, it stands below. */
const LEAST_REASON_WIDTH = 30;
const KINDS = ["kv_scale", "k_scale", "v_scale"] as const;

type ShownInspection = Shown<Inspection>;
type Scale = Inspection["layers"][number]["scales"][number];

/** What is there, what engines make of it, and what is wrong. */
export function inspectionReport(inspection: Inspection, screen: Screen): string {
  const { colors, width } = screen;
  const safe = shown(inspection);
  const { engines, problems } = safe;
  return [
    headLine(safe, width),
    "",
    ...scaleTable(safe, screen),
    ...engines.map((engine) => engineLine(engine, screen)),
    ...fnuzLine(safe, width),
    ...problems.flatMap(({ message }) => ["", colors.red(wrapText(`Problem: ${message}`, width, CONTINUED))]),
    "",
  ].join("\n");
}

function headLine(inspection: ShownInspection, width: number): string {
  const { modelType, quantization, quantizationFile, kvCacheDtype, layers } = inspection;
  const source = quantizationFile === "hf_quant_config.json" ? quantizationFile : "quantization_config";
  const parts = [
    modelType === undefined ? "unknown model type" : quoted(modelType),
    `${counted(layers.length, "layer")} with attention`,
    ...(quantization === undefined ? [] : [`${source}: ${quoted(quantization)}`]),
    ...(kvCacheDtype === undefined ? [] : [`kv_cache_torch_dtype: ${quoted(kvCacheDtype)}`]),
  ];
  return wrapText(parts.join(" · "), width, CONTINUED);
}

/** A plain name unchanged; other text in quotes, so that it does not look like a sentence of ours. */
function quoted(name: ShownText): string {
  return /^[\w./-]+$/.test(name) ? name : `"${name}"`;
}

function scaleTable({ layers, strayScales }: ShownInspection, screen: Screen): string[] {
  const all = [...layers.flatMap(({ scales }) => scales), ...strayScales];
  if (all.length === 0) return ["No KV scales: engines run an FP8 cache at 1.0.", ""];
  const kinds = KINDS.filter((kind) => all.some((scale) => scale.kind === kind));
  const table = tableLines(
    [
      { title: "layer", cells: layers.map(({ layer }) => String(layer)) },
      ...kinds.map((kind) => ({
        title: kind,
        cells: layers.map(({ scales }) => cellOf(scales.find((scale) => scale.kind === kind))),
      })),
    ],
    screen,
  );
  return [...table, "", ...tensorLines(all).map(screen.colors.dim), ""];
}

function cellOf(scale: Shown<Scale> | undefined): string {
  if (scale === undefined) return "–";
  const [value] = scale.values ?? [];
  if (value === undefined) return scale.dtype;
  const text = Number.isFinite(value) && value > 0 ? formatValue(value) : String(value);
  return scale.values?.length === 1 ? text : `${text} …`;
}

/** One line for tensors that are alike: `model.layers.#.self_attn.k_scale  F32 [1]  in model-00002-of-00002.safetensors`. */
function tensorLines(scales: readonly Shown<Scale>[]): string[] {
  const counts = new Map<string, number>();
  for (const { name, dtype, shape, file } of scales) {
    const line = `${name.replace(/\.\d+\./, ".#.")}  ${dtype} [${shape.join(", ")}]  in ${file}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return [...counts].map(([line, count]) => `${count} × ${line}`);
}

function engineLine({ name, use, why }: Shown<InspectedEngine>, { colors, width }: Screen): string {
  const paint = {
    used: colors.green,
    refused: colors.red,
    ignored: colors.yellow,
    unknown: colors.yellow,
    none: colors.dim,
  };
  const column = ENGINE_WIDTH + USE_WIDTH;
  const head = `${name.padEnd(ENGINE_WIDTH)}${paint[use](use.padEnd(USE_WIDTH))}`;
  if (width - column >= LEAST_REASON_WIDTH) return `${head}${wrapText(why, width, " ".repeat(column))}`;
  return `${head.trimEnd()}\n${CONTINUED}${wrapText(why, width, CONTINUED)}`;
}

/** What the engines that use the scales make of them on a GPU whose FP8 is another. */
function fnuzLine({ engines }: ShownInspection, width: number): string[] {
  const namesOf = (what: InspectedEngine["onFnuz"]) =>
    engines.filter(({ onFnuz }) => onFnuz === what).map(({ name }) => name);
  const [doubled, asTheyAre] = [namesOf("doubled"), namesOf("as-they-are")];
  if (doubled.length + asTheyAre.length === 0) return [];
  const clauses = [
    ...(asTheyAre.length === 0 ? [] : [`scales stay as they are, too small by half, in ${asTheyAre.join(" and ")}`]),
    ...(doubled.length === 0 ? [] : [`scales are doubled in ${doubled.join(" and ")}`]),
  ];
  return ["", wrapText(`On AMD MI300 (E4M3FNUZ) ${clauses.join("; ")}.`, width, CONTINUED)];
}

/** The result for machines. Keys are stable; numbers that JSON does not have are texts. */
export function inspectionJson(inspection: Inspection): string {
  const { folder, modelType, quantization, quantizationFile, kvCacheDtype, layers, strayScales, engines, problems } =
    inspection;
  const summary = {
    checkpoint: folder,
    model_type: modelType ?? null,
    quantization: quantization ?? null,
    quantization_file: quantizationFile ?? null,
    kv_cache_torch_dtype: kvCacheDtype ?? null,
    layers: layers.map(({ layer, name, scales }) => ({ layer, name, scales: scales.map(scaleJson) })),
    stray_scales: strayScales.map(scaleJson),
    engines: engines.map(({ engine, name, use, why, onFnuz, layers: runs }) => ({
      engine,
      name,
      use,
      why,
      on_fnuz: onFnuz ?? null,
      layers: runs?.map(({ layer, k, v }) => ({ layer, k_scale: numberJson(k), v_scale: numberJson(v) })) ?? null,
    })),
    problems,
  };
  return resultJson(summary);
}

function scaleJson({ name, dtype, shape, file, values }: Scale) {
  return { name, dtype, shape, file, values: values?.map(numberJson) ?? null };
}

function numberJson(value: number | undefined): number | string | null {
  if (value === undefined) return null;
  return Number.isFinite(value) ? value : String(value);
}
