// Downloads a checkpoint from the Hugging Face hub into the cache that Python's huggingface_hub also uses. Returns its
// folder; does not know what it is used for. Refuses repositories without safetensors.

import { join } from "node:path";
import { INDEX_FILE, SINGLE_FILE } from "../checkpoint/open-checkpoint.js";
import { readTextFile } from "../checkpoint/text-files.js";
import { HubError } from "../errors.js";
import { writeRef } from "./cache-refs.js";
import { findCachedCheckpoint } from "./cached-checkpoint.js";
import { describeOtherWeights, type RepoFile, selectSideFiles, shardNames, toRepoFile } from "./checkpoint-files.js";
import { downloadFiles } from "./download-files.js";
import { snapshotFolder } from "./hub-cache.js";
import { asked, type HubQuestion } from "./hub-errors.js";
import type { HubLimits } from "./hub-limits.js";
import { askCommit, type Hub, type ListedEntry, listEntries } from "./hub-listing.js";
import { type DownloadOptions, openHub } from "./open-hub.js";

/**
 * Downloads the files that are missing in the cache. Returns the snapshot's folder, an absolute path.
 * @throws HubError, UsageError for an invalid name, InterruptedError when the signal was raised
 */
export async function downloadCheckpoint(options: DownloadOptions): Promise<string> {
  const { repoFolder, revision, hub } = await openHub(options);
  if (hub === undefined) return await findCachedCheckpoint(repoFolder, options.repo, revision);
  const commit = await askCommit(hub);
  const entries = await listEntries(hub, commit);
  const files = await selectFiles(hub, repoFolder, commit, entries);
  await downloadFiles(hub, repoFolder, commit, files, options.onProgress);
  // Last, so that a revision never points to an incomplete snapshot.
  await writeRef(repoFolder, revision, commit);
  return snapshotFolder(repoFolder, commit);
}

/** Small files first: errors in a checkpoint show before its weights are downloaded. */
async function selectFiles(
  hub: Hub,
  repoFolder: string,
  commit: string,
  entries: readonly ListedEntry[],
): Promise<RepoFile[]> {
  const { question, limits } = hub;
  const files = entries.flatMap((entry) => toRepoFile(entry) ?? []);
  const named = new Map(files.map((file) => [file.name, file]));
  const single = named.get(SINGLE_FILE);
  const index = named.get(INDEX_FILE);
  const config = named.get("config.json");
  if (single === undefined && index === undefined) {
    throw new HubError(
      `${asked(question)}: expected ${SINGLE_FILE} or ${INDEX_FILE}, found ${describeOtherWeights(entries)}. Choose a repository with safetensors weights.`,
    );
  }
  if (config === undefined) {
    throw new HubError(`${asked(question)}: it has no config.json. Choose a repository in the transformers format.`);
  }
  for (const file of [config, single === undefined ? index : undefined]) checkReadable(question, file, limits);
  const sideFiles = selectSideFiles(question, files, limits);
  // transformers reads the single file when both exist.
  if (single !== undefined || index === undefined) return [...sideFiles, ...(single ? [single] : [])];

  await downloadFiles(hub, repoFolder, commit, [index]);
  const path = join(snapshotFolder(repoFolder, commit), INDEX_FILE);
  const shards = shardNames(path, await readTextFile(path)).map((name) => {
    const shard = named.get(name);
    if (shard !== undefined) return shard;
    throw new HubError(
      `${asked(question)}: ${INDEX_FILE} names ${name}, which the repository does not have. Choose another revision or repository.`,
    );
  });
  return [...sideFiles, ...shards];
}

/** A file that must be read whole is not downloaded when it is too large for that. */
function checkReadable(question: HubQuestion, file: RepoFile | undefined, { sideFileBytes }: HubLimits): void {
  if (file === undefined || file.size <= sideFileBytes) return;
  throw new HubError(
    `${asked(question)}: ${file.name} has ${file.size} bytes; at most ${sideFileBytes} are read. Choose another revision or repository.`,
  );
}
