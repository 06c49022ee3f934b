// Opens a checkpoint folder: config.json and the place of each tensor's bytes, links resolved. Reads only headers.
// Knows no architecture, so it cannot say which tensors a model needs.

import { basename, join } from "node:path";
import { CheckpointError, messageOf } from "../errors.js";
import { collectTensors, type RepeatedTensor } from "./collect-tensors.js";
import { type FileIdentity, identifyFiles } from "./file-identity.js";
import { describeFolder } from "./folder-kinds.js";
import { findForeignName } from "./foreign-names.js";
import { isObject, parseJsonObject, parsePythonJsonObject, showJson } from "./json-text.js";
import { readModelOptFile } from "./model-opt-file.js";
import { listCheckpointFolder, openShards } from "./open-shards.js";
import type { SafetensorsHeader, TensorEntry } from "./safetensors-header.js";
import { holdsOnlyScales, isScaleName } from "./scale-names.js";
import { judgeIndexBesideSingle } from "./single-beside-index.js";
import { readTextFile } from "./text-files.js";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

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
  /** Every file of the folder before anything was read, by name, to detect changes before writing. */
  readonly files: ReadonlyMap<string, FileIdentity>;
  readonly configText: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** hf_quant_config.json, which ModelOpt writes beside config.json; undefined without it. */
  readonly modelOpt: Readonly<Record<string, unknown>> | undefined;
  readonly shards: readonly Shard[];
  readonly tensors: ReadonlyMap<string, TensorLocation>;
  /** Absent when the weights are one file. */
  readonly index: CheckpointIndex | undefined;
  /** Warnings about the input, in sentences. */
  readonly warnings: readonly string[];
}

/**
 * Opens the checkpoint in `folder` and checks every header.
 * @throws CheckpointError when a file is missing, damaged or contradicts another
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const inFolder = await listCheckpointFolder(folder);
  const files = await identifyFiles(folder).catch((cause: unknown) => {
    throw new CheckpointError(`${folder}: cannot be listed: ${messageOf(cause)}`, { cause });
  });
  await requireConfig(folder, inFolder);
  const configText = await readTextFile(join(folder, "config.json"));
  const config = parsePythonJsonObject(join(folder, "config.json"), configText);
  const modelOpt = await readModelOptFile(folder, inFolder);
  const { index, warning } = await readIndex(folder, inFolder, files);
  const names = index === undefined ? [SINGLE_FILE] : [...new Set(Object.values(index.weightMap))].sort();
  const shards = await openShards(folder, names);
  const { tensors, repeated } = await collectTensors(shards, index?.weightMap ?? {});
  if (index !== undefined) checkIndexAgainstShards(folder, index, tensors, shards);
  const foreign = findForeignName(tensors.keys());
  if (foreign !== undefined) throw new CheckpointError(`${folder}: ${foreign.problem}.`);
  const warnings = [
    ...byteOrderMarkWarning(configText, files.get("config.json")),
    ...(warning === undefined ? [] : [warning]),
    ...repeatedWarning(repeated),
  ];
  return { folder, files, configText, config, modelOpt, shards, tensors, index, warnings };
}

/** The index, absent if the weights are one file; and a warning about an ignored index. */
async function readIndex(
  folder: string,
  inFolder: readonly string[],
  files: ReadonlyMap<string, FileIdentity>,
): Promise<{ readonly index?: CheckpointIndex; readonly warning?: string | undefined }> {
  const path = join(folder, INDEX_FILE);
  const hasIndex = inFolder.includes(INDEX_FILE);
  if (inFolder.includes(SINGLE_FILE)) {
    if (!hasIndex) return {};
    const weightMap = readWeightMap(path, parseJsonObject(path, await readTextFile(path)));
    const facts = { single: SINGLE_FILE, index: INDEX_FILE, named: weightMap.values() };
    return { warning: await judgeIndexBesideSingle(folder, facts, files) };
  }
  if (!hasIndex) throw await missingWeights(folder, inFolder);
  const json = parseJsonObject(path, await readTextFile(path));
  const weightMap = readWeightMap(path, json);
  if (weightMap.size === 0) throw new CheckpointError(`${path}: "weight_map" is empty`);
  const there = new Set(inFolder);
  for (const [tensor, file] of weightMap) {
    if (file !== basename(file) || !file.endsWith(".safetensors")) throw notAFileName(path, tensor, file);
    if (!there.has(file)) {
      throw new CheckpointError(
        `${path}: tensor "${tensor}" is said to be in ${file}, which is not there. Download the missing shard.`,
      );
    }
  }
  const metadata = isObject(json.metadata) ? json.metadata : {};
  return { index: { weightMap: Object.fromEntries(weightMap), metadata } };
}

const BYTE_ORDER_MARK_BYTES = 3;

/** The byte order mark is not in the text that was read. */
function byteOrderMarkWarning(text: string, identity: FileIdentity | undefined): string[] {
  if (identity?.size !== BigInt(Buffer.byteLength(text) + BYTE_ORDER_MARK_BYTES)) return [];
  return ["config.json begins with a byte order mark, which transformers and vLLM refuse. The result's has none."];
}

function repeatedWarning(repeated: readonly RepeatedTensor[]): string[] {
  const [first] = repeated;
  if (first === undefined) return [];
  const more = repeated.length === 1 ? "" : ` (and ${repeated.length - 1} more like it)`;
  return [
    `Tensor "${first.name}" is in ${first.shards.join(" and in ")}, with the same bytes${more}. vLLM, SGLang and transformers load such files; TGI refuses them. Save the checkpoint again to serve it with TGI.`,
  ];
}

/** `weight_map` of an index: tensor to file, in its order. @throws CheckpointError for values that are no strings */
export function readWeightMap(
  path: string,
  { weight_map: weightMap }: Readonly<Record<string, unknown>>,
): Map<string, string> {
  if (!isObject(weightMap)) {
    throw new CheckpointError(`${path}: expected an object "weight_map" from tensor names to file names`);
  }
  const entries = Object.entries(weightMap).map(([tensor, file]): [string, string] => {
    if (typeof file === "string") return [tensor, file];
    throw notAFileName(path, tensor, file);
  });
  return new Map(entries);
}

function notAFileName(path: string, tensor: string, found: unknown): CheckpointError {
  return new CheckpointError(
    `${path}: tensor "${tensor}": expected the name of a .safetensors file beside the index, found ${showJson(found)}`,
  );
}

/** @throws CheckpointError that says what the folder is instead of a checkpoint */
export async function requireConfig(folder: string, names: readonly string[]): Promise<void> {
  if (names.includes("config.json")) return;
  throw new CheckpointError(
    `${join(folder, "config.json")}: not found: ${await describeFolder(folder, names, "config.json")}`,
  );
}

async function missingWeights(folder: string, names: readonly string[]): Promise<CheckpointError> {
  const safetensors = names.filter((file) => file.endsWith(".safetensors"));
  const isElsewhere = safetensors.every((file) => /^(consolidated|adapter_model)\b/.test(file));
  if (!isElsewhere) {
    return new CheckpointError(
      `${folder}: has ${safetensors.length} .safetensors files (${safetensors[0]} …) but neither ${SINGLE_FILE} nor ${INDEX_FILE}. Download the index.`,
    );
  }
  const what = await describeFolder(folder, names, "weights");
  return new CheckpointError(`${folder}: has neither ${SINGLE_FILE} nor ${INDEX_FILE}: ${what}`);
}

function checkIndexAgainstShards(
  folder: string,
  index: CheckpointIndex,
  tensors: ReadonlyMap<string, TensorLocation>,
  shards: readonly Shard[],
): void {
  // A run that was killed while it replaced scales with another format leaves old names in the index.
  const scaleFiles = new Set(shards.filter(({ header }) => holdsOnlyScales(header)).map(({ name }) => name));
  for (const [name, file] of Object.entries(index.weightMap)) {
    const found = tensors.get(name);
    if (found?.shard === file || (found === undefined && scaleFiles.has(file) && isScaleName(name))) continue;
    const where = found === undefined ? "is in no shard" : `is in ${found.shard}`;
    throw new CheckpointError(`${join(folder, INDEX_FILE)}: tensor "${name}" is said to be in ${file}, but ${where}`);
  }
}
