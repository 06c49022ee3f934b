// The story of a conversion: open, read the scales, compute them for the other format, write. Measures nothing, prints
// nothing.

import { attentionsByConfig } from "../checkpoint/attention-names.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { tryInPlace, tryNewFolder } from "../checkpoint/output-checks.js";
import { chooseOutputForm } from "../checkpoint/output-form.js";
import {
  OUTPUT_FORMATS,
  type OutputFormat,
  type OutputFormatName,
  type ScaleNames,
  scaleTensors,
} from "../checkpoint/output-formats.js";
import type { Placement } from "../checkpoint/place-file.js";
import {
  readScales,
  type ScalesAsRead,
  type ScaleTensor,
  scalesAsRead,
  scalesByAttention,
} from "../checkpoint/read-scales.js";
import { scaleDtype } from "../checkpoint/scale-facts.js";
import { writeNewCheckpoint } from "../checkpoint/write-checkpoint.js";
import { writeInPlace } from "../checkpoint/write-in-place.js";
import { CheckpointError, throwIfAborted } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { LayerScales } from "../numerics/scales.js";
import type { CalibrationProgress } from "./calibration-result.js";
import { scalesFromRecord, scalesFromTensors } from "./converted-scales.js";
import { requireKnownOptions } from "./known-options.js";
import { type LocatedModel, locateModel, placeOfResult } from "./locate-model.js";
import { A_MODEL, requireDtypeOfFormat, requireKey, requireOnePlace, requireText } from "./option-checks.js";
import { modelName, ontoOf } from "./run-names.js";
import type { ModelOptions } from "./run-options.js";
import { convertedRecord, readScaleRecord, type ScaleRecord } from "./scale-record.js";
import { openSibling } from "./sibling.js";

export interface ConvertOptions extends ModelOptions {
  /**
   * The checkpoint to write the scales onto: the same model, its weights quantized. A folder or a hub id, as `model`.
   * CheckpointError when it is not the same model.
   * @defaultValue `model`
   */
  readonly onto?: string | undefined;
  /** How the scales are to be written: it decides which engines read them. */
  readonly format: OutputFormatName;
  /**
   * FP8 format that the scales are to be for. UsageError when the output format has no such dtype.
   * @defaultValue the dtype that they are for now; where the format does not have it, the format's first
   */
  readonly dtype?: Float8Name | undefined;
  /**
   * Folder to write. OutputExistsError when there is something that may not be replaced, OutputWriteError when it cannot be
   * written.
   * @defaultValue `<model>-<format>`, or `<onto>-<format>`, beside that; of a hub id, in the current folder
   */
  readonly output?: string | undefined;
  /**
   * Replace the scales in the model's own folder instead, which needs `force`, or add them to that of `onto`. UsageError together with `output`, or with a hub id.
   * @defaultValue `false`
   */
  readonly inPlace?: boolean | undefined;
  /**
   * Replace an earlier result. What is not from this program is never replaced.
   * @defaultValue `false`
   */
  readonly force?: boolean | undefined;
  /**
   * Called while the work goes on, often; what it throws ends the run.
   * @defaultValue none
   */
  readonly onProgress?: ((progress: CalibrationProgress) => void) | undefined;
}

export interface Conversion {
  /** The folder that holds the result. */
  readonly output: string;
  /** Whether that is the checkpoint's own folder, or that of `onto`. */
  readonly inPlace: boolean;
  /** The folder whose weights the result has, where that is not the checkpoint's. */
  readonly onto?: string | undefined;
  /** What the scales were computed from. "absmax": the ranges that kv_scales.json has recorded. */
  readonly source: "absmax" | ScalesAsRead["source"];
  /** FP8 format that the scales were for. */
  readonly fromDtype: Float8Name;
  /** How the scales are written now. */
  readonly format: OutputFormatName;
  /** FP8 format that the scales are for now. */
  readonly dtype: Float8Name;
  /** How the weights came into the new folder; undefined in place. */
  readonly placement: Placement | undefined;
  /** What was written, by layer. */
  readonly scales: readonly LayerScales[];
  /** The format to convert the result to for engines that do not read this one; undefined where there is none. */
  readonly convertTo?: OutputFormatName | undefined;
  /** What a person should know, a sentence or more each. */
  readonly warnings: readonly string[];
}

/**
 * Writes a checkpoint with the same scales in another format or FP8 dtype.
 * @throws UsageError, OutputExistsError, CheckpointError, HubError, UnsupportedModelError, OutputWriteError,
 * InterruptedError: see errors.ts
 */
export async function convert(options: ConvertOptions): Promise<Conversion> {
  requireKnownOptions("convert", options);
  const { format, onto, inPlace = false, force = false, signal, onProgress } = options;
  checkOptions(options);
  throwIfAborted(signal);
  const located = await locateModel({ ...options, inPlace: onto === undefined && inPlace });
  const checkpoint = await untilInterrupted(signal, openCheckpoint(located.folder));
  if (onto === undefined) await tryWriting(await placeOf(located, options), checkpoint, options);
  const known = await untilInterrupted(signal, readKnownScales(checkpoint));
  const target =
    onto === undefined
      ? { located, checkpoint, names: known.names, warnings: [] }
      : await openSibling({ checkpoint, names: known.names }, { ...options, model: onto });
  const output = await placeOf(target.located, options);
  if (onto !== undefined) await tryWriting(output, target.checkpoint, options);
  const dtype = options.dtype ?? closestDtype(known.dtype, format);
  const form = await chooseOutputForm(target.checkpoint, format, dtype, target.names);
  const { scales: exact, source, record } = computeScales(known, dtype);
  const scales = exact.map(form.written);
  const name = onto === undefined ? undefined : ontoOf(await modelName(target.checkpoint.folder));
  const { text: recordText, metadata } = convertedRecord(record, { format, dtype, onto: name }, scales, target.names);
  const content = {
    scales: scaleTensors(form.tensors, scales, target.names),
    metadata,
    // Keys of the other formats go: the compressed-tensors block would make vLLM misread kv_scale, and a dtype beside
    // k_scale and v_scale would say what no engine of theirs asks for.
    configText: form.configText,
    sideTexts: form.sideTexts,
    recordText,
  };
  const onCopied = (copiedBytes: number, totalBytes: number) =>
    onProgress?.({ stage: "write", copiedBytes, totalBytes });
  const written = inPlace
    ? await writeInPlace(target.checkpoint, content, force)
    : await writeNewCheckpoint(target.checkpoint, output, content, { force, signal, onCopied });
  return {
    output,
    inPlace,
    onto: onto === undefined ? undefined : target.checkpoint.folder,
    source,
    fromDtype: known.dtype,
    format,
    dtype,
    placement: written?.placement,
    scales,
    convertTo: form.convertTo,
    warnings: [
      ...checkpoint.warnings,
      ...target.warnings,
      ...warningsOf(known, { source, format }),
      ...form.warnings,
      ...(written?.warnings ?? []),
    ],
  };
}

/** The folder to write. */
function placeOf(located: LocatedModel, { format, output, inPlace }: ConvertOptions): Promise<string> {
  return inPlace ? Promise.resolve(located.folder) : placeOfResult(located, output, format);
}

async function tryWriting(
  output: string,
  checkpoint: Checkpoint,
  { inPlace, force = false }: ConvertOptions,
): Promise<void> {
  await (inPlace ? tryInPlace(checkpoint, force) : tryNewFolder(checkpoint, output, force));
}

function checkOptions({ model, onto, format, dtype, ...places }: ConvertOptions): void {
  requireText("model", model, A_MODEL);
  if (onto !== undefined) requireText("onto", onto, A_MODEL);
  requireKey("format", format, OUTPUT_FORMATS);
  if (dtype !== undefined) {
    requireKey("dtype", dtype, FLOAT8_FORMATS);
    requireDtypeOfFormat(format, dtype);
  }
  requireOnePlace(places);
}

function closestDtype(dtype: Float8Name, format: OutputFormatName): Float8Name {
  const { dtypes }: OutputFormat = OUTPUT_FORMATS[format];
  return dtypes.includes(dtype) ? dtype : (dtypes[0] ?? dtype);
}

interface KnownScales {
  readonly dtype: Float8Name;
  readonly asRead: ScalesAsRead;
  /** Of the caches, under the names of the layers that write them. */
  readonly tensors: readonly ScaleTensor[];
  readonly record: ScaleRecord | undefined;
  /** Numbers of the decoder layers that write a cache. */
  readonly layers: readonly number[];
  readonly names: ScaleNames;
}

async function readKnownScales(checkpoint: Checkpoint): Promise<KnownScales> {
  const { folder, config, shards } = checkpoint;
  const attentions = attentionsByConfig(checkpoint.tensors.keys(), config);
  const [stored, record] = await Promise.all([readScales(shards), readScaleRecord(folder)]);
  const names = namesByCache(attentions, stored, record);
  const places = [...names].map(([layer, [name]]) => ({ layer, name }));
  const asRead = await scalesAsRead(checkpoint, places);
  if (asRead === undefined) {
    throw new CheckpointError(
      `${folder}: has no KV scales to convert. Calibrate it: create-kv-scales ${folder}. If it should have some, "create-kv-scales inspect" says where they are.`,
    );
  }
  const owners = new Set(places.map(({ name }) => name));
  return {
    dtype: scaleDtype(config),
    asRead,
    tensors: stored.filter(({ attention }) => owners.has(attention)),
    record,
    layers: [...names.keys()],
    names,
  };
}

/**
 * The names of scales by cache. A layer that the record of a calibration leaves out, and whose scales are those of an
 * earlier one, reads that one's cache. Without a record, each layer counts for itself.
 */
function namesByCache(
  attentions: ReadonlyMap<number, string>,
  stored: readonly ScaleTensor[],
  record: ScaleRecord | undefined,
): ScaleNames {
  const scalesOf = scalesByAttention(stored);
  const valuesOf = (name: string) => JSON.stringify(scalesOf(name).map(({ kind, values }) => [kind, values]));
  const recorded = new Set(record?.layers.map(({ layer }) => layer) ?? attentions.keys());
  const names = new Map<number, [string, ...string[]]>();
  for (const [layer, name] of attentions) {
    const own = [...names.values()]
      .filter(([owner]) => !recorded.has(layer) && valuesOf(owner) === valuesOf(name))
      .at(-1);
    if (own === undefined) names.set(layer, [name]);
    else own.push(name);
  }
  return names;
}

function computeScales(
  { record, tensors, asRead, layers, dtype: from }: KnownScales,
  to: Float8Name,
): Pick<Conversion, "scales" | "source"> & { readonly record: ScaleRecord | undefined } {
  const exact = record && scalesFromRecord(record, tensors, layers, from, to);
  if (exact) return { scales: exact, source: "absmax", record };
  return { scales: scalesFromTensors(asRead, from, to), source: asRead.source, record: undefined };
}

function warningsOf(
  { record, asRead }: KnownScales,
  { source, format }: Pick<Conversion, "source" | "format">,
): string[] {
  const { sharesScale }: OutputFormat = OUTPUT_FORMATS[format];
  const warnings: string[] = [];
  if (record !== undefined && source !== "absmax") {
    warnings.push(
      "kv_scales.json does not match the scales in the checkpoint: they were converted as they are, and it was written anew.",
    );
  }
  if (source === "kv_scale" && !sharesScale) {
    warnings.push(
      `Only ${asRead.source} is known: k_scale and v_scale both get it. Calibrating again would give each its own range.`,
    );
  }
  return warnings;
}
