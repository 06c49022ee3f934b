// The hashes by which the hub names content: sha256 for files in large file storage, git's hash of a blob for others.
// Says whether a file in the cache has the content that its name promises. Writes nothing.

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { RepoFile } from "./checkpoint-files.js";
import { fileSize } from "./hub-cache.js";

/** A hash over the file's bytes, to be compared with its etag. */
export function startHash({ etag, size }: Pick<RepoFile, "etag" | "size">): Hash {
  return etag.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

/** The name of the hash that an etag is, for messages. */
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
    // What cannot be read is as good as missing: downloading it again says why.
    return false;
  }
  return hash.digest("hex") === file.etag;
}
