// Reads kv_scales.json, the record of a calibration, and rewrites it for converted scales. The record may come from
// anywhere: one that is not as expected counts as no record. One that cannot be read at all is an error.

import { join } from "node:path";
import { isObject, parseJson } from "../checkpoint/json-text.js";
import { namesOf, type OutputFormatName, type ScaleNames } from "../checkpoint/output-formats.js";
import { RECORD_FILE, withoutFiles } from "../checkpoint/result-record.js";
import { readOptionalTextFile } from "../checkpoint/text-files.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { LayerScales } from "../numerics/scales.js";
import { RECORD_SCHEMA_VERSION } from "./calibration-record.js";
import { commandWith } from "./run-names.js";
import { TOOL_VERSION } from "./tool-version.js";

export interface RecordedLayer {
  readonly layer: number;
  readonly k_scale?: number;
  readonly v_scale?: number;
  readonly kv_scale?: number;
  /** Absent when scales were converted without a record. */
  readonly k_absmax?: number;
  readonly v_absmax?: number;
  /** What scales are for with headroom "auto". */
  readonly k_level?: number;
  readonly v_level?: number;
}

export interface ScaleRecord {
  readonly dtype: Float8Name;
  readonly headroom: number | "auto" | undefined;
  readonly layers: readonly RecordedLayer[];
  /** The record's keys about the scales, for the next record. */
  readonly json: Json;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * The record beside a checkpoint; undefined when there is none, or when another program wrote it.
 * @throws CheckpointError when the file cannot be read as JSON
 */
export async function readScaleRecord(folder: string): Promise<ScaleRecord | undefined> {
  const path = join(folder, RECORD_FILE);
  const text = await readOptionalTextFile(path);
  return text === undefined ? undefined : parseScaleRecord(parseJson(path, text));
}

function parseScaleRecord(json: unknown): ScaleRecord | undefined {
  if (!isObject(json) || json.tool !== "create-kv-scales" || !isFloat8Name(json.dtype)) return undefined;
  if (!Array.isArray(json.layers) || !json.layers.every(isRecordedLayer)) return undefined;
  const headroom = typeof json.headroom === "number" || json.headroom === "auto" ? json.headroom : undefined;
  return { dtype: json.dtype, headroom, layers: json.layers, json: withoutFiles(json) };
}

/** Text of kv_scales.json and metadata of the scales' shard. @param earlier the record of the calibration */
export function convertedRecord(
  earlier: ScaleRecord | undefined,
  to: { readonly format: OutputFormatName; readonly dtype: Float8Name; readonly onto?: string | undefined },
  scales: readonly LayerScales[],
  names: ScaleNames,
): { readonly text: string; readonly metadata: Record<string, string> } {
  const fresh = { tool: "create-kv-scales", tool_version: TOOL_VERSION };
  const json: Json = earlier?.json ?? fresh;
  const { schema_version: _version, model, commit, onto: before, data, command: _command, layers: _, ...rest } = json;
  const { experts, ...known } = rest;
  const onto = to.onto ?? before;
  const command = earlier && commandOfConverted(earlier, to);
  const inputs = { schema_version: RECORD_SCHEMA_VERSION, model, commit, onto, data, command };
  const provenance = { ...known, dtype: to.dtype, kv_scales_format: to.format };
  const layers = scales.map(({ layer, kScale, vScale, kvScale }) => ({
    layer,
    name: namesOf(names, layer)[0],
    ...earlier?.layers.find((entry) => entry.layer === layer),
    k_scale: kScale,
    v_scale: vScale,
    kv_scale: kvScale,
  }));
  const metadata = Object.entries(provenance).filter(([, value]) => ["string", "number"].includes(typeof value));
  return {
    text: `${JSON.stringify({ ...inputs, ...provenance, layers, experts }, null, 2)}\n`,
    metadata: { format: "pt", ...Object.fromEntries(metadata.map(([key, value]) => [key, String(value)])) },
  };
}

/** The command that would have given the converted scales; undefined when the record has none, as older ones. */
function commandOfConverted(
  { json, dtype }: ScaleRecord,
  to: { readonly format: OutputFormatName; readonly dtype: Float8Name; readonly onto?: string | undefined },
): string | undefined {
  const { command, model, commit, onto, kv_scales_format: format } = json;
  if (typeof model !== "string" || typeof format !== "string") return undefined;
  const text = (value: unknown) => (typeof value === "string" ? value : undefined);
  const from = { model, commit: text(commit), onto: text(onto), format, dtype };
  return commandWith(command, from, { ...to, onto: to.onto ?? from.onto });
}

function isRecordedLayer(value: unknown): value is RecordedLayer {
  if (!isObject(value) || !Number.isSafeInteger(value.layer)) return false;
  const { k_scale, v_scale, kv_scale, k_absmax, v_absmax, k_level, v_level } = value;
  const numbers = [k_scale, v_scale, kv_scale, k_absmax, v_absmax, k_level, v_level];
  return numbers.every((number) => number === undefined || typeof number === "number");
}

function isFloat8Name(value: unknown): value is Float8Name {
  return typeof value === "string" && Object.hasOwn(FLOAT8_FORMATS, value);
}
