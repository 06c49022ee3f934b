// The files beside the weights that a new folder gets unchanged: tokenizer, generation config, licence, model code.
// Decides which may be copied, and copies them so that they survive a power cut. Knows nothing of their content.

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, readdir, realpath } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { CheckpointError, codeOf, messageOf } from "../errors.js";
import { type FileIdentity, identifyFile, identityIn, isUnchanged } from "./file-identity.js";
import { changedWhileUsed } from "./input-changes.js";
import { RECORD_FILE, type WrittenFile } from "./result-record.js";

export interface SideFile {
  readonly name: string;
  /** Links resolved. */
  readonly path: string;
  readonly identity: FileIdentity;
}

export interface SideFiles {
  readonly files: readonly SideFile[];
  /** Links that lead out of the model's folder: its maker could have named any file of the user's. */
  readonly notFollowed: readonly string[];
}

/** Weights in other formats: they have no scales, and would be downloaded or loaded twice. */
const OTHER_WEIGHTS = /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|gguf|onnx|msgpack|h5|ot)$/;

/**
 * Everything at the top level of a checkpoint that is not weights, a hidden file or a folder.
 * @throws CheckpointError for what cannot be copied: a broken link, a file that cannot be opened
 */
export async function findSideFiles(folder: string): Promise<SideFiles> {
  const home = await realpath(folder);
  const files: SideFile[] = [];
  const notFollowed: string[] = [];
  for (const raw of await readdir(folder, { encoding: "buffer" })) {
    const name = raw.toString("utf8");
    if (name === "config.json" || name === RECORD_FILE || name.startsWith(".") || OTHER_WEIGHTS.test(name)) continue;
    if (!Buffer.from(name, "utf8").equals(raw)) {
      throw new CheckpointError(`${join(folder, name)}: its name is not valid UTF-8. Rename it, or move it elsewhere.`);
    }
    const path = await resolveLink(join(folder, name));
    if (!(await lstat(path)).isFile()) continue;
    if (!isWithin(path, home) && !isInCacheOf(path, home)) notFollowed.push(name);
    else files.push({ name, path, identity: await identifyReadable(path) });
  }
  return { files, notFollowed };
}

async function resolveLink(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    throw new CheckpointError(
      `${path}: is a link that leads nowhere (${messageOf(cause)}). Download the file again, or remove the link.`,
      { cause },
    );
  }
}

/** Whether a path is in a folder; both with links resolved. */
export function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`) && !/^[A-Za-z]:/.test(way));
}

/** The hub's cache keeps content in `blobs`, and links to it in `snapshots/<commit>`. */
function isInCacheOf(path: string, snapshot: string): boolean {
  if (basename(dirname(snapshot)) !== "snapshots") return false;
  return dirname(path) === join(dirname(dirname(snapshot)), "blobs");
}

/** Only opening a file shows that it can be read. Without waiting: it may have become a pipe. */
const FOR_READING = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

async function identifyReadable(path: string): Promise<FileIdentity> {
  try {
    const file = await open(path, FOR_READING);
    try {
      return identityIn(await file.stat({ bigint: true }));
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new CheckpointError(`${path}: cannot be read: ${messageOf(cause)}. The result needs a copy of it.`, {
      cause,
    });
  }
}

const CHUNK_BYTES = 2 ** 20;

/**
 * Copies a file and waits until it is on disk.
 * @throws CheckpointError when it is not the file that was found, or changes while it is copied
 */
export async function copySideFile({ name, path, identity }: SideFile, target: string): Promise<WrittenFile> {
  const source = await open(path, FOR_READING).catch((error: unknown) => {
    throw codeOf(error) === "ENOENT" || codeOf(error) === "ELOOP" ? changedWhileUsed(path, true) : error;
  });
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    const { mode } = await source.stat();
    const copy = await open(target, "wx", mode & 0o777);
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      for (;;) {
        const { bytesRead } = await source.read(chunk, 0, chunk.length);
        if (bytesRead === 0) break;
        const content = chunk.subarray(0, bytesRead);
        hash.update(content);
        await copy.writeFile(content);
        bytes += bytesRead;
        if (BigInt(bytes) > identity.size) break;
      }
      await copy.sync();
    } finally {
      await copy.close();
    }
    const copied = identityIn(await source.stat({ bigint: true }));
    if (!isUnchanged(copied, identity) || !isUnchanged(await identifyFile(path), identity))
      throw changedWhileUsed(path);
  } finally {
    await source.close();
  }
  return { name, bytes, sha256: hash.digest("hex") };
}
