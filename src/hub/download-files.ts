// Brings a list of files of one commit into the cache, one after the other, and tells how far it is.
// What the cache has already is not asked for again. Knows nothing of what the files mean.

import { join } from "node:path";
import type { RepoFile } from "./checkpoint-files.js";
import { fetchBlob, linkBlob } from "./fetch-blob.js";
import { fileSize, snapshotFolder } from "./hub-cache.js";
import type { Hub } from "./hub-listing.js";

/** More calls than this would be work for nobody: no terminal shows them. */
const PROGRESS_INTERVAL_MS = 100;

export interface DownloadProgress {
  /** Name of the file that is being downloaded. */
  readonly file: string;
  /** Which of the files to download it is, counted from 1. */
  readonly fileIndex: number;
  /** How many files are to be downloaded: those in the cache do not count. */
  readonly fileCount: number;
  /** Bytes received so far, of all files to download together. */
  readonly receivedBytes: number;
  /** Bytes of all files to download together. */
  readonly totalBytes: number;
}

export type OnProgress = (progress: DownloadProgress) => void;

/** Downloads those of `files` that the commit's snapshot lacks. @throws HubError, InterruptedError */
export async function downloadFiles(
  hub: Hub,
  repoFolder: string,
  commit: string,
  files: readonly RepoFile[],
  onProgress: OnProgress = () => undefined,
): Promise<void> {
  const { endpoint, repo } = hub.question;
  const snapshot = snapshotFolder(repoFolder, commit);
  const missing = await linkCachedFiles(repoFolder, snapshot, files);
  const totalBytes = missing.reduce((sum, { size }) => sum + size, 0);
  let receivedBefore = 0;
  let lastCall = Number.NEGATIVE_INFINITY;

  for (const [index, { name, size, etag }] of missing.entries()) {
    const report = (received: number) => {
      const now = performance.now();
      // The first and the last bytes of a file are always told.
      if (received > 0 && received < size && now - lastCall < PROGRESS_INTERVAL_MS) return;
      lastCall = now;
      const receivedBytes = receivedBefore + received;
      onProgress({ file: name, fileIndex: index + 1, fileCount: missing.length, receivedBytes, totalBytes });
    };
    report(0);
    const blob = blobPath(repoFolder, etag);
    const url = `${endpoint}/${repo}/resolve/${commit}/${encodeURIComponent(name)}`;
    await fetchBlob({ ...hub, url, name, size, blob, onBytes: report });
    await linkBlob(blob, snapshot, name);
    receivedBefore += size;
  }
}

/** Links the blobs that another revision has brought already; returns the files that must be downloaded. */
async function linkCachedFiles(repoFolder: string, snapshot: string, files: readonly RepoFile[]): Promise<RepoFile[]> {
  const missing: RepoFile[] = [];
  for (const file of files) {
    if ((await fileSize(join(snapshot, file.name))) === file.size) continue;
    const blob = blobPath(repoFolder, file.etag);
    // Another size is what a full disk or a killed process leaves.
    if ((await fileSize(blob)) === file.size) await linkBlob(blob, snapshot, file.name);
    else missing.push(file);
  }
  return missing;
}

function blobPath(repoFolder: string, etag: string): string {
  return join(repoFolder, "blobs", etag);
}
