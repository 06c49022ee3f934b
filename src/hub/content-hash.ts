// The hashes by which the hub names content: SHA-256 for files in large file storage, git's blob hash for others.
// Checks whether a file in the cache has the content of its name. Writes nothing.

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { RepoFile } from "./checkpoint-files.js";
import { fileSize } from "./hub-cache.js";

/** A hash over the file's bytes, to be compared with its etag. */
export function startHash({ etag, size }: Pick<RepoFile, "etag" | "size">): Hash {
  return etag.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

/** The kind of hash that an etag is, for messages. */
export function hashName(etag: string): string {
  return etag.length === 64 ? "sha256" : "git hash";
}

/**
 * Whether the file at `path` is whole: of the listed size and, up to `checkedBytes`, of the listed hash. Larger ones are
 * trusted by name and size, as huggingface_hub does.
 */
export async function isWhole(path: string, file: RepoFile, checkedBytes: number): Promise<boolean> {
  if ((await fileSize(path)) !== file.size) return false;
  if (file.size > checkedBytes) return true;
  const hash = startHash(file);
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk);
  } catch {
    // A file that cannot be read counts as missing: downloading it again gives the reason.
    return false;
  }
  return hash.digest("hex") === file.etag;
}
