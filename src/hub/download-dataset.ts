// Gets files of a data set from the hub, into the cache that Python's huggingface_hub uses too. Returns paths like any
// others; knows nothing of prompts. Of a large data set only the first files are brought.

import { readdir } from "node:fs/promises";
import { join, sep } from "node:path";
import { HubError } from "../errors.js";
import { writeRef } from "./cache-refs.js";
import { type RepoFile, toNestedFile } from "./checkpoint-files.js";
import { chooseDatasetFiles, type DatasetChoice } from "./dataset-files.js";
import { downloadFiles } from "./download-files.js";
import { cachedCommit, snapshotFolder } from "./hub-cache.js";
import { asked } from "./hub-errors.js";
import { askCommit, type Hub, listEntries } from "./hub-listing.js";
import { type DownloadOptions, openHub } from "./open-hub.js";

export interface DatasetOptions extends DownloadOptions, DatasetChoice {}

export interface DownloadedDataset {
  readonly commit: string;
  /** Absolute paths, in the order of their names. */
  readonly files: readonly string[];
  /** Whether they are all that the split has. */
  readonly isWhole: boolean;
}

/**
 * Downloads what the cache lacks of a split, up to `datasetBytes`.
 * @throws HubError, UsageError for names that cannot be one or a choice that has no files, InterruptedError
 */
export async function downloadDataset(options: DatasetOptions): Promise<DownloadedDataset> {
  const { repoFolder, revision, hub } = await openHub(options, "dataset");
  if (hub === undefined) return await findCachedDataset(repoFolder, options, revision);
  const commit = await askCommit(hub);
  const entries = await listEntries(hub, commit, true);
  const listed = entries.flatMap((entry) => toNestedFile(entry) ?? []);
  const ofSplit = chooseDatasetFiles(asked(hub.question), listed, options);
  const files = firstFiles(hub, ofSplit);
  await downloadFiles(hub, repoFolder, commit, files, options.onProgress);
  await writeRef(repoFolder, revision, commit);
  const snapshot = snapshotFolder(repoFolder, commit);
  return { commit, files: files.map(({ name }) => join(snapshot, name)), isWhole: files.length === ofSplit.length };
}

/** As many as `datasetBytes` hold, and one at least. @throws HubError when that one is too large */
function firstFiles({ question, limits }: Hub, files: readonly RepoFile[]): RepoFile[] {
  const first: RepoFile[] = [];
  let bytes = 0;
  for (const file of files) {
    if (first.length > 0 && (bytes + file.size > limits.datasetBytes || first.length === limits.sideFiles)) break;
    first.push(file);
    bytes += file.size;
  }
  const [largest] = first;
  if (largest !== undefined && largest.size > limits.sideBytes) {
    throw new HubError(
      `${asked(question)}: ${largest.name} has ${largest.size} bytes; at most ${limits.sideBytes} are downloaded. Choose another split or configuration, or take a part of it: a run uses --samples prompts.`,
    );
  }
  return first;
}

/** What an earlier run has brought, without the network. */
async function findCachedDataset(
  repoFolder: string,
  options: DatasetOptions,
  revision: string,
): Promise<DownloadedDataset> {
  const what = `the data set ${options.repo} (revision ${revision})`;
  const commit = await cachedCommit(repoFolder, revision);
  const snapshot = snapshotFolder(repoFolder, commit ?? "");
  const entries = commit === undefined ? [] : await readdir(snapshot, { recursive: true }).catch(() => []);
  if (commit === undefined || entries.length === 0) {
    throw new HubError(
      `${what} is not in the cache (${repoFolder}) and HF_HUB_OFFLINE forbids the network. Run once without HF_HUB_OFFLINE, or give a file.`,
    );
  }
  const named = entries.map((path) => ({ name: path.split(sep).join("/") }));
  const files = chooseDatasetFiles(what, named, options).map(({ name }) => join(snapshot, name));
  // Whether there are more of them only the hub knows.
  return { commit, files, isWhole: true };
}
