// Opens a checkpoint folder: config.json and where each tensor's bytes lie, links resolved. Reads headers only.
// Knows nothing of architectures: it cannot say which tensors a model needs.

import { access, readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { CheckpointError, messageOf } from "../errors.js";
import { type FileIdentity, identifyFiles } from "./file-identity.js";
import { MAX_NESTING, readSafetensorsHeader, type SafetensorsHeader, type TensorEntry } from "./safetensors-header.js";
import { holdsOnlyScales, isScaleName } from "./scale-names.js";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

/** Far beyond any real index (a 1,000-layer mixture of experts has 20 MB), far below what would exhaust memory. */
const MAX_JSON_BYTES = 200_000_000;

export interface TensorLocation extends TensorEntry {
  /** Absolute path of the file that holds the bytes, symbolic links resolved. */
  readonly file: string;
  /** The file's name in the checkpoint folder. */
  readonly shard: string;
}

export interface Shard {
  readonly name: string;
  readonly path: string;
  readonly header: SafetensorsHeader;
}

export interface CheckpointIndex {
  readonly weightMap: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface Checkpoint {
  readonly folder: string;
  /** Every file of the folder as it was before anything was read, by name: what is written later must still fit. */
  readonly files: ReadonlyMap<string, FileIdentity>;
  readonly configText: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly shards: readonly Shard[];
  readonly tensors: ReadonlyMap<string, TensorLocation>;
  /** Absent when the weights are one file. */
  readonly index: CheckpointIndex | undefined;
}

/**
 * Opens the checkpoint in `folder` and checks every header.
 * @throws CheckpointError when a file is missing, damaged or contradicts another
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  await checkIsFolder(folder);
  const files = await identifyFiles(folder).catch((cause: unknown) => {
    throw new CheckpointError(`${folder}: cannot be listed: ${messageOf(cause)}`, { cause });
  });
  const configText = await readTextFile(join(folder, "config.json"));
  const config = parseJsonObject(join(folder, "config.json"), configText);
  const index = await readIndex(folder);
  const names = index === undefined ? [SINGLE_FILE] : [...new Set(Object.values(index.weightMap))].sort();
  const shards = await Promise.all(names.map((name) => openShard(folder, name)));
  const tensors = collectTensors(shards);
  if (index !== undefined) checkIndexAgainstShards(folder, index, tensors, shards);
  return { folder, files, configText, config, shards, tensors, index };
}

/** Reads a text file of the checkpoint. @throws CheckpointError when it is absent, too large or not UTF-8. */
export async function readTextFile(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_JSON_BYTES) throw new Error(`${size} bytes are more than the limit of ${MAX_JSON_BYTES}`);
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new CheckpointError(
      missing ? `${path}: not found. A checkpoint needs this file.` : `${path}: cannot be read: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** The same; undefined when it is absent. */
export async function readOptionalTextFile(path: string): Promise<string | undefined> {
  const isThere = await access(path).then(
    () => true,
    () => false,
  );
  return isThere ? readTextFile(path) : undefined;
}

/** Parses JSON whose top level is an object. @throws CheckpointError naming the file. */
export function parseJsonObject(path: string, text: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${path}: not valid JSON: ${messageOf(cause)}`, { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new CheckpointError(`${path}: expected a JSON object at the top level`);
  }
  refuseDeepNesting(path, json);
  return json as Record<string, unknown>;
}

/** What walks the value later, ours or a library, may be recursive. */
function refuseDeepNesting(path: string, json: object): void {
  let level: object[] = [json];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_NESTING) throw new CheckpointError(`${path}: nests deeper than ${MAX_NESTING} levels`);
    level = level.flatMap((value) =>
      Object.values(value).filter((entry) => typeof entry === "object" && entry !== null),
    );
  }
}

async function checkIsFolder(folder: string): Promise<void> {
  try {
    if ((await stat(folder)).isDirectory()) return;
  } catch (cause) {
    throw new CheckpointError(
      `${folder}: no such folder. Give a checkpoint folder (config.json and *.safetensors) or a hub id such as org/name.`,
      { cause },
    );
  }
  throw new CheckpointError(`${folder}: expected a checkpoint folder, found a file. Give the folder that holds it.`);
}

async function readIndex(folder: string): Promise<CheckpointIndex | undefined> {
  const files = await readdir(folder);
  // transformers prefers the single file when both exist, so this does too.
  if (files.includes(SINGLE_FILE)) return undefined;
  const path = join(folder, INDEX_FILE);
  if (!files.includes(INDEX_FILE)) throw new CheckpointError(describeMissingWeights(folder, files));
  const json = parseJsonObject(path, await readTextFile(path));
  const weightMap = json.weight_map;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new CheckpointError(`${path}: expected an object "weight_map" from tensor names to file names`);
  }
  const entries = Object.entries(weightMap);
  if (entries.length === 0) throw new CheckpointError(`${path}: "weight_map" is empty`);
  for (const [tensor, file] of entries) {
    if (typeof file !== "string" || file !== basename(file) || !file.endsWith(".safetensors")) {
      throw new CheckpointError(
        `${path}: tensor "${tensor}": expected the name of a .safetensors file beside the index, found ${JSON.stringify(file)}`,
      );
    }
    if (!files.includes(file)) {
      throw new CheckpointError(
        `${path}: tensor "${tensor}" is said to be in ${file}, which is not there. Download the missing shard.`,
      );
    }
  }
  const metadata = typeof json.metadata === "object" && json.metadata !== null ? json.metadata : {};
  return { weightMap: weightMap as Record<string, string>, metadata: metadata as Record<string, unknown> };
}

function describeMissingWeights(folder: string, files: readonly string[]): string {
  const safetensors = files.filter((file) => file.endsWith(".safetensors"));
  const pickled = files.filter((file) => /\.(bin|pt|pth)$/.test(file));
  if (safetensors.length > 0) {
    return `${folder}: has ${safetensors.length} .safetensors files (${safetensors[0]} …) but neither ${SINGLE_FILE} nor ${INDEX_FILE}. Download the index.`;
  }
  if (pickled.length > 0) {
    return `${folder}: has weights in PyTorch's format only (${pickled[0]}), which can run code when read. Convert them to safetensors first.`;
  }
  return `${folder}: has neither ${SINGLE_FILE} nor ${INDEX_FILE}. Give a checkpoint folder with safetensors weights.`;
}

async function openShard(folder: string, name: string): Promise<Shard> {
  let path: string;
  try {
    path = await realpath(join(folder, name));
  } catch (cause) {
    throw new CheckpointError(`${join(folder, name)}: cannot be opened: ${messageOf(cause)}`, { cause });
  }
  return { name, path, header: await readSafetensorsHeader(path) };
}

function collectTensors(shards: readonly Shard[]): Map<string, TensorLocation> {
  const tensors = new Map<string, TensorLocation>();
  for (const shard of shards) {
    for (const tensor of shard.header.tensors) {
      const other = tensors.get(tensor.name);
      if (other !== undefined) {
        throw new CheckpointError(`${shard.path}: tensor "${tensor.name}" is also in ${other.shard}`);
      }
      tensors.set(tensor.name, { ...tensor, file: shard.path, shard: shard.name });
    }
  }
  return tensors;
}

function checkIndexAgainstShards(
  folder: string,
  index: CheckpointIndex,
  tensors: ReadonlyMap<string, TensorLocation>,
  shards: readonly Shard[],
): void {
  // A run that was killed while it replaced scales by those of another format leaves the old names in the index.
  const scaleFiles = new Set(shards.filter(({ header }) => holdsOnlyScales(header)).map(({ name }) => name));
  for (const [name, file] of Object.entries(index.weightMap)) {
    const found = tensors.get(name);
    if (found?.shard === file || (found === undefined && scaleFiles.has(file) && isScaleName(name))) continue;
    const where = found === undefined ? "is in no shard" : `is in ${found.shard}`;
    throw new CheckpointError(`${join(folder, INDEX_FILE)}: tensor "${name}" is said to be in ${file}, but ${where}`);
  }
}
