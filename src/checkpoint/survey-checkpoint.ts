// Surveys a checkpoint folder with all its contradictions: every top-level safetensors file, and the index. Reads only
// headers; judges nothing.

import { join } from "node:path";
import { CheckpointError } from "../errors.js";
import { describeFolder } from "./folder-kinds.js";
import { parseJsonObject, parsePythonJsonObject } from "./json-text.js";
import { readModelOptFile } from "./model-opt-file.js";
import { INDEX_FILE, readWeightMap, requireConfig, type Shard } from "./open-checkpoint.js";
import { listCheckpointFolder, openShards } from "./open-shards.js";
import { readTextFile } from "./text-files.js";

export interface Survey {
  readonly folder: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Every safetensors file at the top level, by name. */
  readonly files: readonly Shard[];
  /** Tensor to file, by the index; absent without an index. */
  readonly weightMap: ReadonlyMap<string, string> | undefined;
  /** hf_quant_config.json, which ModelOpt writes beside config.json; absent without it. */
  readonly modelOpt: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Surveys the checkpoint in `folder`.
 * @throws CheckpointError when there is nothing to look at: no folder, no config.json, no safetensors file, or one that
 * cannot be read
 */
export async function surveyCheckpoint(folder: string): Promise<Survey> {
  const names = await listCheckpointFolder(folder);
  await requireConfig(folder, names);
  const configPath = join(folder, "config.json");
  const config = parsePythonJsonObject(configPath, await readTextFile(configPath));
  const shards = names.filter((name) => name.endsWith(".safetensors")).sort();
  if (shards.length === 0) {
    throw new CheckpointError(`${folder}: has no .safetensors file: ${await describeFolder(folder, names, "weights")}`);
  }
  const files = await openShards(folder, shards);
  const index = join(folder, INDEX_FILE);
  const weightMap = names.includes(INDEX_FILE)
    ? readWeightMap(index, parseJsonObject(index, await readTextFile(index)))
    : undefined;
  const modelOpt = await readModelOptFile(folder, names);
  return { folder, config, files, weightMap, modelOpt };
}
