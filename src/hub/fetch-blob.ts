// Downloads one file into the cache: to a temporary name first, to its own when it is whole, then a link to it from
// the snapshot. Takes up a broken connection where it ended. Knows nothing of which files are wanted, or why.

import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { HubError, InterruptedError } from "../errors.js";
import { BrokenConnectionError, errorOfBody, errorOfContent, type HubQuestion, onDisk } from "./hub-errors.js";
import type { Fetch } from "./hub-fetch.js";

/** A shard of 5 GB over a bad line breaks now and then; a server that always breaks is given up after two seconds. */
const MAX_ATTEMPTS = 4;
const PAUSE_MS = 300;

interface BlobRequest {
  readonly question: HubQuestion;
  readonly hubFetch: Fetch;
  readonly url: string;
  readonly name: string;
  readonly size: number;
  /** Where the content goes in the cache. */
  readonly blob: string;
  readonly signal: AbortSignal | undefined;
  /** Called with the number of bytes of this file that have come so far. */
  readonly onBytes: (received: number) => void;
}

/**
 * Downloads the content to `request.blob`. When it fails, nothing of it stays.
 * @throws HubError, or InterruptedError when the signal was raised
 */
export async function fetchBlob(request: BlobRequest): Promise<void> {
  const { blob, signal } = request;
  // The library's downloadFileToCacheDir() always writes to <blob>.incomplete: two processes would mix their bytes.
  const partial = `${blob}.${randomUUID()}.incomplete`;
  try {
    await onDisk(blob, () => mkdir(dirname(blob), { recursive: true }));
    const file = await onDisk(partial, () => open(partial, "wx"));
    try {
      await receive(request, file);
    } finally {
      await onDisk(partial, () => file.close());
    }
    await onDisk(blob, () => rename(partial, blob));
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined);
    if (signal?.aborted) {
      throw new InterruptedError(
        `Interrupted while downloading ${request.name}: the whole files are kept in the cache.`,
      );
    }
    throw error;
  }
}

/** Makes `snapshot/name` a link to the blob, relative so that the cache can be moved. */
export async function linkBlob(blob: string, snapshot: string, name: string): Promise<void> {
  const link = join(snapshot, name);
  await onDisk(link, async () => {
    await mkdir(snapshot, { recursive: true });
    await rm(link, { force: true });
    // Windows without developer mode has no symbolic links: there the file itself moves, as in huggingface_hub.
    await symlink(relative(snapshot, blob), link).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") await rename(blob, link);
    });
  });
}

async function receive(request: BlobRequest, file: FileHandle): Promise<void> {
  let received = 0;
  const count = (bytes: number) => {
    received += bytes;
    request.onBytes(received);
  };
  for (let attempt = 1; received < request.size; attempt++) {
    try {
      await receiveFrom(received, request, file, count);
    } catch (error) {
      if (!(error instanceof BrokenConnectionError) || attempt === MAX_ATTEMPTS) throw error;
      await pause(PAUSE_MS * attempt, undefined, { ...(request.signal && { signal: request.signal }) });
    }
  }
}

// The library's downloadFile() gives a Blob that takes no signal and whose stream turns every error into a bare string.
async function receiveFrom(
  start: number,
  { question, hubFetch, url, name, size, blob }: BlobRequest,
  file: FileHandle,
  count: (bytes: number) => void,
): Promise<void> {
  const response = await hubFetch(url, start === 0 ? {} : { headers: { range: `bytes=${start}-` } });
  if (start > 0 && !response.headers.get("content-range")?.startsWith(`bytes ${start}-`)) {
    await response.body?.cancel().catch(() => undefined);
    throw errorOfContent(question, `${name} broke off after ${start} of ${size} bytes and cannot be continued there`);
  }
  let received = start;
  try {
    for await (const chunk of response.body ?? []) {
      received += chunk.byteLength;
      if (received > size) throw errorOfContent(question, `${name} is larger than the ${size} bytes of the listing`);
      await onDisk(blob, () => file.writeFile(chunk));
      count(chunk.byteLength);
    }
  } catch (cause) {
    if (cause instanceof HubError) throw cause;
    throw errorOfBody(question, name, size, received, cause);
  }
  if (received < size) throw errorOfBody(question, name, size, received);
}
