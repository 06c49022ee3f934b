// Downloads a list of files of one commit into the cache, one after the other, and reports progress. Files in the cache
// are not requested again. Knows nothing of what the files mean.

import { readdir, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { makeFolders } from "../checkpoint/make-folders.js";
import { HubError, throwIfAborted } from "../errors.js";
import type { RepoFile } from "./checkpoint-files.js";
import { isWhole } from "./content-hash.js";
import { fetchBlob, linkBlob } from "./fetch-blob.js";
import { snapshotFolder } from "./hub-cache.js";
import { asked, onDisk, pageOf } from "./hub-errors.js";
import type { Hub } from "./hub-listing.js";

/** More frequent calls would be useless: no terminal shows them. */
const PROGRESS_INTERVAL_MS = 100;

/** Left-overs of killed runs. A running download writes to its file all the time. */
const PARTIAL = /^(?:(?:[0-9a-f]{40}|[0-9a-f]{64})\.)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.incomplete$/;
const DEAD_AFTER_MS = 86_400_000;

export interface DownloadProgress {
  /** Name of the file that is being downloaded. */
  readonly file: string;
  /** Its number among the files to download, from 1. */
  readonly fileIndex: number;
  /** Number of files to download, without those in the cache. */
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
  const snapshot = snapshotFolder(repoFolder, commit);
  const missing = await linkCachedFiles(hub, repoFolder, snapshot, files);
  if (missing.length === 0) return;
  const totalBytes = missing.reduce((sum, { size }) => sum + size, 0);
  const blobs = join(repoFolder, "blobs");
  await onDisk(blobs, () => makeFolders(blobs));
  await removeDeadPartials(blobs);
  await checkSpace(hub, blobs, totalBytes);
  let receivedBefore = 0;
  let lastCall = Number.NEGATIVE_INFINITY;

  for (const [index, file] of missing.entries()) {
    const { name, size, etag } = file;
    const report = (received: number) => {
      const now = performance.now();
      // The first and the last bytes of a file are always reported.
      if (received > 0 && received < size && now - lastCall < PROGRESS_INTERVAL_MS) return;
      lastCall = now;
      const receivedBytes = receivedBefore + received;
      onProgress({ file: name, fileIndex: index + 1, fileCount: missing.length, receivedBytes, totalBytes });
    };
    report(0);
    const blob = blobPath(repoFolder, etag);
    const url = `${pageOf(hub.question)}/resolve/${commit}/${name.split("/").map(encodeURIComponent).join("/")}`;
    await fetchBlob({ ...hub, ...file, url, blob, onBytes: report });
    await linkBlob(blob, snapshot, name);
    receivedBefore += size;
  }
}

/** Links blobs that another revision already brought; returns the files that must be downloaded. */
async function linkCachedFiles(
  { signal, limits: { checkedBytes } }: Hub,
  repoFolder: string,
  snapshot: string,
  files: readonly RepoFile[],
): Promise<RepoFile[]> {
  const missing: RepoFile[] = [];
  for (const file of files) {
    throwIfAborted(signal);
    if (await isWhole(join(snapshot, file.name), file, checkedBytes)) continue;
    const blob = blobPath(repoFolder, file.etag);
    if (await isWhole(blob, file, checkedBytes)) await linkBlob(blob, snapshot, file.name);
    else missing.push(file);
  }
  return missing;
}

/** Removes left-overs of runs that were killed a day ago or earlier. Failing to remove them is no error. */
async function removeDeadPartials(blobs: string): Promise<void> {
  const names = await readdir(blobs).catch(() => []);
  for (const path of names.filter((name) => PARTIAL.test(name)).map((name) => join(blobs, name))) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() && Date.now() - found.mtimeMs > DEAD_AFTER_MS) await rm(path).catch(() => undefined);
  }
}

/** @throws HubError when the disk has not enough free space */
async function checkSpace({ question }: Hub, folder: string, bytes: number): Promise<void> {
  const disk = await statfs(folder).catch(() => undefined);
  // Some file systems do not report their size.
  if (disk === undefined || disk.blocks === 0) return;
  const free = disk.bavail * disk.bsize;
  if (bytes <= free) return;
  throw new HubError(
    `${asked(question)}: ${bytes} bytes are to be downloaded, but ${folder} has room for ${free}. Make room, or point HF_HUB_CACHE to a folder on another disk.`,
  );
}

function blobPath(repoFolder: string, etag: string): string {
  return join(repoFolder, "blobs", etag);
}
