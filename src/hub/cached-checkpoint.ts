// Finds a checkpoint in the cache, for use without the network. Cannot know whether side files are missing, because
// that needs a listing of the repository.

import { join } from "node:path";
import { INDEX_FILE, SINGLE_FILE } from "../checkpoint/open-checkpoint.js";
import { readTextFile } from "../checkpoint/text-files.js";
import { HubError } from "../errors.js";
import { shardNames } from "./checkpoint-files.js";
import { cachedCommit, fileSize, snapshotFolder } from "./hub-cache.js";

/**
 * The snapshot of a revision in the cache, with config.json and all weights.
 * @throws HubError when there is none, or when a file of it is missing
 */
export async function findCachedCheckpoint(repoFolder: string, repo: string, revision: string): Promise<string> {
  const what = `${repo} (revision ${revision})`;
  const commit = await cachedCommit(repoFolder, revision);
  const snapshot = snapshotFolder(repoFolder, commit ?? "");
  const missing = commit === undefined ? undefined : await findMissingFile(snapshot);
  if (commit === undefined || missing === "config.json") {
    throw new HubError(
      `${what} is not in the cache (${repoFolder}) and HF_HUB_OFFLINE forbids the network. Run once without HF_HUB_OFFLINE, or give a folder.`,
    );
  }
  if (missing !== undefined) {
    throw new HubError(
      `${what} is not complete in the cache: ${missing} is missing in ${snapshot}, and HF_HUB_OFFLINE forbids the network. Run once without HF_HUB_OFFLINE.`,
    );
  }
  return snapshot;
}

async function findMissingFile(snapshot: string): Promise<string | undefined> {
  const isMissing = async (name: string) => (await fileSize(join(snapshot, name))) === undefined;
  if (await isMissing("config.json")) return "config.json";
  if (!(await isMissing(SINGLE_FILE))) return undefined;
  if (await isMissing(INDEX_FILE)) return `${SINGLE_FILE} (or ${INDEX_FILE})`;
  const index = join(snapshot, INDEX_FILE);
  for (const name of shardNames(index, await readTextFile(index))) {
    if (await isMissing(name)) return name;
  }
  return undefined;
}
