// Looks at a checkpoint folder as it is, contradictions included: every safetensors file at its top level, whether the
// index names it, and what the index promises. Reads headers only; judges nothing.

import { readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, messageOf } from "../errors.js";
import { INDEX_FILE, parseJsonObject, readTextFile, SINGLE_FILE } from "./open-checkpoint.js";
import { readSafetensorsHeader, type SafetensorsHeader } from "./safetensors-header.js";

export interface SurveyedFile {
  readonly name: string;
  /** Symbolic links resolved. */
  readonly path: string;
  readonly header: SafetensorsHeader;
}

export interface Survey {
  readonly folder: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Every safetensors file at the top level, by name. */
  readonly files: readonly SurveyedFile[];
  /** Tensor to file, as the index has it; absent without an index. */
  readonly weightMap: ReadonlyMap<string, string> | undefined;
}

/**
 * Surveys the checkpoint in `folder`.
 * @throws CheckpointError when there is nothing to look at: no folder, no config.json, no safetensors file, or one that
 * cannot be read
 */
export async function surveyCheckpoint(folder: string): Promise<Survey> {
  const names = await listFolder(folder);
  const configPath = join(folder, "config.json");
  const config = parseJsonObject(configPath, await readTextFile(configPath));
  const shards = names.filter((name) => name.endsWith(".safetensors")).sort();
  if (shards.length === 0) {
    throw new CheckpointError(
      `${folder}: has no .safetensors file. Give a checkpoint folder with safetensors weights, such as one with ${SINGLE_FILE}.`,
    );
  }
  const files = await Promise.all(shards.map((name) => surveyFile(folder, name)));
  const weightMap = names.includes(INDEX_FILE) ? await readWeightMap(join(folder, INDEX_FILE)) : undefined;
  return { folder, config, files, weightMap };
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    throw new CheckpointError(
      `${folder}: cannot be listed: ${messageOf(cause)}. Give a checkpoint folder (config.json and *.safetensors) or a hub id such as org/name.`,
      { cause },
    );
  }
}

async function surveyFile(folder: string, name: string): Promise<SurveyedFile> {
  try {
    const path = await realpath(join(folder, name));
    return { name, path, header: await readSafetensorsHeader(path) };
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    throw new CheckpointError(`${join(folder, name)}: cannot be opened: ${messageOf(cause)}`, { cause });
  }
}

async function readWeightMap(path: string): Promise<Map<string, string>> {
  const { weight_map: weightMap } = parseJsonObject(path, await readTextFile(path));
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new CheckpointError(`${path}: expected an object "weight_map" from tensor names to file names`);
  }
  return new Map(
    Object.entries(weightMap).map(([tensor, file]) => {
      if (typeof file === "string") return [tensor, file];
      throw new CheckpointError(`${path}: tensor "${tensor}": expected a file name, found ${JSON.stringify(file)}`);
    }),
  );
}
