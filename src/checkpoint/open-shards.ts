// Reads the headers of safetensors files, links resolved, within limits for all of them together. Does not know which
// files belong to the checkpoint.

import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, codeOf, messageOf } from "../errors.js";
import type { Shard } from "./open-checkpoint.js";
import { describeFile, requirePlainFile } from "./plain-file.js";
import { readSafetensorsHeader, type SafetensorsHeader } from "./safetensors-header.js";
import { takeTurns } from "./take-turns.js";

/** The largest checkpoints have 200 files; these many open in a second. */
const MAX_SHARDS = 10_000;

/** 61 layers of 384 experts in GPTQ's four tensors per matrix are 280,000. These many take some 200 MB. */
const MAX_TENSORS = 500_000;

/** The headers of those 280,000 tensors have 40 MB. These take three seconds. */
const MAX_HEADER_BYTES = 80_000_000;

/**
 * Opens each file by its name in the folder.
 * @throws CheckpointError when one is not valid, or there are more than any model has
 */
export async function openShards(folder: string, names: readonly string[]): Promise<Shard[]> {
  if (names.length > MAX_SHARDS) {
    throw new CheckpointError(
      `${folder}: expected at most ${MAX_SHARDS} safetensors files, found ${names.length}: no model has so many`,
    );
  }
  let tensors = 0;
  let headerBytes = 0;
  return takeTurns(names, async (name) => {
    const shard = await openShard(folder, name);
    tensors += shard.header.tensors.length;
    headerBytes += headerBytesOf(shard.header);
    if (tensors > MAX_TENSORS) {
      throw new CheckpointError(`${folder}: expected at most ${MAX_TENSORS} tensors, found more: no model has so many`);
    }
    if (headerBytes > MAX_HEADER_BYTES) {
      throw new CheckpointError(
        `${folder}: expected safetensors headers of at most ${MAX_HEADER_BYTES} bytes together, found more: no model has so many`,
      );
    }
    return shard;
  });
}

async function openShard(folder: string, name: string): Promise<Shard> {
  const link = join(folder, name);
  const path = await realpath(link).catch((cause: unknown) => {
    throw new CheckpointError(`${link}: cannot be opened: ${messageOf(cause)}`, { cause });
  });
  await requirePlainFile(link); // so that an error names it, not where it leads
  return { name, path, header: await readSafetensorsHeader(path) };
}

/** The tensors fill the rest of the file. */
function headerBytesOf({ tensors, fileBytes }: SafetensorsHeader): number {
  return tensors.reduce((rest, { byteLength }) => rest - byteLength, fileBytes);
}

/** The names in a checkpoint's folder. @throws CheckpointError when it is no folder */
export async function listCheckpointFolder(folder: string): Promise<string[]> {
  const advice = "Give a checkpoint folder (config.json and *.safetensors) or a hub id such as org/name.";
  try {
    const stats = await stat(folder);
    if (stats.isDirectory()) return await readdir(folder);
    const other = stats.isFile() ? "Give the folder that holds it." : advice;
    throw new CheckpointError(
      `${folder}: expected a checkpoint folder, found ${await describeFile(folder, stats)}. ${other}`,
    );
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    const problem = codeOf(cause) === "ENOENT" ? "no such folder" : `cannot be listed: ${messageOf(cause)}`;
    throw new CheckpointError(`${folder}: ${problem}. ${advice}`, { cause });
  }
}
