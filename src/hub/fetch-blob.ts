// Downloads one file into the cache: under a temporary name until it is complete and has the right hash, then under its
// own name with a link from the snapshot. Resumes after a broken connection, but not the download of an earlier run.
// Does not know which files are needed, or why.

import { type Hash, randomUUID } from "node:crypto";
import { type FileHandle, link, open, readlink, rename, rm, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { makeFolders } from "../checkpoint/make-folders.js";
import { InterruptedError, KvScalesError } from "../errors.js";
import type { RepoFile } from "./checkpoint-files.js";
import { hashName, isWhole, startHash } from "./content-hash.js";
import { BrokenConnectionError, errorOfBody, errorOfContent, errorOfHash, errorOfPace, onDisk } from "./hub-errors.js";
import type { Hub } from "./hub-listing.js";
import { watchPace } from "./watch-pace.js";

/** The download of a 5 GB shard over a bad line breaks now and then. */
const MAX_ATTEMPTS = 4;

interface BlobRequest extends Hub, RepoFile {
  readonly url: string;
  /** The path of the content in the cache. */
  readonly blob: string;
  /** Called with the number of bytes of this file received so far. */
  readonly onBytes: (received: number) => void;
}

/**
 * Downloads the content to `request.blob`. Leaves nothing behind when it fails.
 * @throws HubError, or InterruptedError when the signal was raised
 */
export async function fetchBlob(request: BlobRequest): Promise<void> {
  const { blob, signal } = request;
  // The library's downloadFileToCacheDir() always writes to <blob>.incomplete, where two processes would mix their
  // bytes.
  const partial = `${blob}.${randomUUID()}.incomplete`;
  try {
    await onDisk(blob, () => makeFolders(dirname(blob)));
    const file = await onDisk(partial, () => open(partial, "wx"));
    try {
      await receive(request, file);
      // A power failure must not leave a name without its content.
      await onDisk(partial, () => file.datasync());
    } finally {
      await onDisk(partial, () => file.close());
    }
    await onDisk(blob, () => nameBlob(partial, request));
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined);
    if (signal?.aborted) {
      throw new InterruptedError(
        `Interrupted while downloading ${request.name}: complete files are kept in the cache.`,
      );
    }
    throw error;
  }
}

/**
 * Gives complete content its name. Another process may have brought the same content meanwhile: then its file stays, because
 * a run that reads it takes another file of that name for a change of the checkpoint.
 */
async function nameBlob(partial: string, request: BlobRequest): Promise<void> {
  const { blob, limits } = request;
  try {
    await link(partial, blob);
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
    // Some file systems have no hard links.
    if (!isThere || !(await isWhole(blob, request, limits.checkedBytes))) return rename(partial, blob);
  }
  await rm(partial, { force: true });
}

/**
 * Makes `snapshot/name` a link to the blob, relative so that the cache can be moved. An existing link is replaced in
 * one step, because another process may be reading through it.
 */
export async function linkBlob(blob: string, snapshot: string, name: string): Promise<void> {
  const link = join(snapshot, name);
  const target = relative(dirname(link), blob);
  await onDisk(link, async () => {
    await makeFolders(dirname(link));
    if ((await readlink(link).catch(() => undefined)) === target) return;
    const partial = join(dirname(blob), `${randomUUID()}.incomplete`);
    // Windows without developer mode has no symbolic links. There the file itself is moved, as in huggingface_hub.
    const hasLinks = await symlink(target, partial).then(
      () => true,
      () => false,
    );
    try {
      await rename(hasLinks ? partial : blob, link);
    } finally {
      if (hasLinks) await rm(partial, { force: true }).catch(() => undefined);
    }
  });
}

/** The received part of a file. */
interface Received {
  bytes: number;
  hash: Hash;
}

async function receive(request: BlobRequest, file: FileHandle): Promise<void> {
  const content: Received = { bytes: 0, hash: startHash(request) };
  for (let attempt = 1; content.bytes < request.size; attempt++) {
    try {
      await receiveMore(request, file, content);
    } catch (error) {
      if (!(error instanceof BrokenConnectionError) || attempt === MAX_ATTEMPTS) throw error;
      await pause(request.limits.retryMs * attempt, undefined, { ...(request.signal && { signal: request.signal }) });
    }
  }
  const { question, name, etag } = request;
  const found = content.hash.digest("hex");
  if (found !== etag) throw errorOfHash(question, name, hashName(etag), etag, found);
}

// The library's downloadFile() gives a Blob that takes no signal, and whose stream turns every error into a string.
async function receiveMore(request: BlobRequest, file: FileHandle, content: Received): Promise<void> {
  const { question, hubFetch, limits, signal, url, name, size, blob } = request;
  const clock = watchPace(limits.paceMs, limits.paceBytes);
  try {
    const start = content.bytes;
    clock.wait();
    const headers = start === 0 ? {} : { range: `bytes=${start}-` };
    const response = await hubFetch(url, { headers, signal: clock.signal });
    if (start > 0 && !response.headers.get("content-range")?.startsWith(`bytes ${start}-`)) {
      // The server sends the whole file although a part was requested.
      await onDisk(blob, () => file.truncate());
      Object.assign(content, { bytes: 0, hash: startHash(request) });
    }
    for await (const chunk of response.body ?? []) {
      clock.arrived(chunk.byteLength);
      if (content.bytes + chunk.byteLength > size) {
        throw errorOfContent(question, `${name} is larger than the ${size} bytes of the listing`);
      }
      await onDisk(blob, () => writeAt(file, chunk, content.bytes));
      content.bytes += chunk.byteLength;
      content.hash.update(chunk);
      request.onBytes(content.bytes);
      clock.wait();
    }
  } catch (cause) {
    const isLate = clock.signal.aborted && !signal?.aborted;
    if (isLate) throw errorOfPace(question, name, size, content.bytes, limits);
    if (cause instanceof KvScalesError) throw cause;
    throw errorOfBody(question, name, size, content.bytes, cause);
  } finally {
    clock.stop();
  }
  if (content.bytes < size) throw errorOfBody(question, name, size, content.bytes);
}

/** A full disk may accept a part of the bytes. */
async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
}
