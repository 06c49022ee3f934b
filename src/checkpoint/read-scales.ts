// Reads the scales of the KV cache: names, shapes, dtypes and values. This is the only tensor data that JavaScript ever
// reads, and it is little. Judges only values that cannot be scales, in `scalesAsRead`.

import { CheckpointError } from "../errors.js";
import { decodeFloats, isFloatDtype } from "./float-elements.js";
import type { Checkpoint } from "./open-checkpoint.js";
import { type PlainFile, withPlainFile } from "./plain-file.js";
import type { TensorEntry } from "./safetensors-header.js";
import { parseScaleName, type ScaleKind, type ScaleName } from "./scale-names.js";
import { takeTurns } from "./take-turns.js";

export interface ScaleTensor extends ScaleName {
  readonly name: string;
  /** Its file's name. */
  readonly file: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Absent if the dtype is no float of at least 16 bits, or there are more elements than a layer has heads. */
  readonly values: readonly number[] | undefined;
}

/** More KV heads than any layer has. A larger tensor is not a scale, and is not read. */
const MAX_ELEMENTS = 1024;

/** A thousand layers with ten scales each. More would take long to read and to compare. */
const MAX_SCALES = 10_000;

interface ScalesFile {
  readonly name: string;
  readonly path: string;
  readonly header: { readonly tensors: readonly TensorEntry[] };
}

/**
 * Every scale tensor of the files, in the order of the files and of their headers.
 * @throws CheckpointError when a file cannot be read
 */
export async function readScales(files: readonly ScalesFile[]): Promise<ScaleTensor[]> {
  const found = files.map(({ name, path, header }) => ({ file: name, path, entries: scaleEntries(header.tensors) }));
  const count = found.reduce((sum, { entries }) => sum + entries.length, 0);
  if (count > MAX_SCALES) {
    throw new CheckpointError(
      `${found[0]?.path}: expected at most ${MAX_SCALES} scales of the KV cache, found ${count} in ${files.length} files: no model has so many`,
    );
  }
  const read = await takeTurns(found, readFileScales);
  return read.flat();
}

interface FoundScale {
  readonly entry: TensorEntry;
  readonly parsed: ScaleName;
}

function scaleEntries(tensors: readonly TensorEntry[]): FoundScale[] {
  return tensors.flatMap((entry) => {
    const parsed = parseScaleName(entry.name);
    return parsed === undefined ? [] : [{ entry, parsed }];
  });
}

async function readFileScales({
  file,
  path,
  entries,
}: {
  readonly file: string;
  readonly path: string;
  readonly entries: readonly FoundScale[];
}): Promise<ScaleTensor[]> {
  if (entries.length === 0) return [];
  return withPlainFile(path, async (opened) => {
    const scales: ScaleTensor[] = [];
    for (const { entry, parsed } of entries) {
      const { name, dtype, shape } = entry;
      scales.push({ name, ...parsed, file, dtype, shape, values: await readValues(opened, entry) });
    }
    return scales;
  });
}

async function readValues({ read }: PlainFile, entry: TensorEntry): Promise<number[] | undefined> {
  const elements = entry.shape.reduce((product, size) => product * size, 1);
  if (!isFloatDtype(entry.dtype) || elements > MAX_ELEMENTS) return undefined;
  return decodeFloats(entry.dtype, await read(entry.offset, entry.byteLength), elements);
}

/** The scales of an attention by its name, in the given order. */
export function scalesByAttention(
  scales: readonly ScaleTensor[],
): (attention: string | undefined) => readonly ScaleTensor[] {
  const groups = new Map<string | undefined, ScaleTensor[]>();
  for (const scale of scales) {
    const group = groups.get(scale.attention);
    if (group === undefined) groups.set(scale.attention, [scale]);
    else group.push(scale);
  }
  return (attention) => groups.get(attention) ?? [];
}

export interface ScalesAsRead {
  readonly source: "kv_scale" | "k_scale, v_scale";
  /** In the order of the requested places. */
  readonly layers: readonly { readonly layer: number; readonly kScale: number; readonly vScale: number }[];
}

/**
 * The scales of each decoder layer as an engine uses them: k_scale and v_scale where all layers have both, else kv_scale for
 * both. Undefined when the checkpoint has none.
 * @param places number of the layer and name of the attention, of each that writes a cache
 * @throws CheckpointError for a layer without scales, and a scale that is not one finite positive number
 */
export async function scalesAsRead(
  checkpoint: Checkpoint,
  places: readonly { readonly layer: number; readonly name: string }[],
): Promise<ScalesAsRead | undefined> {
  const scales = await readScales(checkpoint.shards);
  if (scales.length === 0) return undefined;
  const scalesOf = scalesByAttention(scales);
  const find = (attention: string, kind: ScaleKind) => scalesOf(attention).find((scale) => scale.kind === kind);
  const attentionNames = places.map(({ name }) => name);
  const withoutPair = attentionNames.filter((name) => !find(name, "k_scale") || !find(name, "v_scale"));
  const withoutShared = attentionNames.filter((name) => !find(name, "kv_scale"));
  const source = withoutPair.length === 0 ? "k_scale, v_scale" : "kv_scale";
  if (withoutPair.length > 0 && withoutShared.length > 0) {
    const [missing] = withoutShared.length <= withoutPair.length ? withoutShared : withoutPair;
    throw new CheckpointError(
      `${checkpoint.folder}: "${missing}" has neither kv_scale nor both k_scale and v_scale, but other layers have scales. Calibrate the checkpoint again.`,
    );
  }
  const scaleOf = (attention: string, kind: ScaleKind) => singleValue(checkpoint.folder, find(attention, kind));
  const layers = places.map(({ layer, name }) => {
    if (source === "k_scale, v_scale") {
      return { layer, kScale: scaleOf(name, "k_scale"), vScale: scaleOf(name, "v_scale") };
    }
    const shared = scaleOf(name, "kv_scale");
    return { layer, kScale: shared, vScale: shared };
  });
  return { source, layers };
}

function singleValue(folder: string, scale: ScaleTensor | undefined): number {
  const [value = Number.NaN] = scale?.values ?? [];
  if (scale?.values?.length === 1 && Number.isFinite(value) && value > 0) return value;
  const found = scale?.values?.length === 1 ? value : `${scale?.dtype} of shape [${scale?.shape.join(", ")}]`;
  throw new CheckpointError(
    `${folder}: ${scale?.file}: tensor "${scale?.name}": expected one finite positive number, found ${found}. Calibrate the checkpoint again.`,
  );
}
