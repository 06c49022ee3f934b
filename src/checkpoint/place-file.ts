// Places a large file in a folder: by hard link, else reflink, else copy. Writes small files so that they survive a
// power cut. Knows nothing of checkpoints.

import { type BigIntStats, constants, createReadStream, createWriteStream, lstatSync, renameSync } from "node:fs";
import { copyFile, link, lstat, open, rename, rm, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { codeOf } from "../errors.js";
import { exchangePaths } from "./exchange-paths.js";
import { type FileIdentity, identifyFile, identityIn, isUnchanged } from "./file-identity.js";
import { temporaryTag } from "./process-identity.js";

export type Placement = "hard link" | "reflink" | "copy";

export interface PlaceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called while bytes are copied; never for links. */
  readonly onCopied?: ((bytes: number) => void) | undefined;
}

/**
 * Places `source` at `target` in the cheapest way that the file system allows. A copy gets the modification time of its
 * source, rounded as `isTimeOfCopy` expects it, and is on disk when this returns.
 */
export async function placeFile(source: string, target: string, options: PlaceOptions = {}): Promise<Placement> {
  try {
    await link(source, target);
    return "hard link";
  } catch (error) {
    if (isOutOfSpace(error)) throw error;
  }
  const { mtimeNs } = await stat(source, { bigint: true });
  const placement = await copyWhole(source, target, options);
  const seconds = Number(timeOfCopy(mtimeNs) / NS_PER_SECOND);
  await utimes(target, seconds, seconds);
  await syncPath(target);
  return placement;
}

async function copyWhole(source: string, target: string, options: PlaceOptions): Promise<Placement> {
  try {
    await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return "reflink";
  } catch (error) {
    if (isOutOfSpace(error)) throw error;
  }
  await copyWithProgress(source, target, options);
  return "copy";
}

const NS_PER_SECOND = 1_000_000_000n;

/** FAT has times of even seconds, which every file system can store. */
const COPY_TIME_STEP_NS = 2n * NS_PER_SECOND;

function timeOfCopy(mtimeNs: bigint): bigint {
  return mtimeNs - (mtimeNs % COPY_TIME_STEP_NS);
}

/** Whether a file has the time that `placeFile` gives a copy of `source`: then nobody has changed it since. */
export function isTimeOfCopy(mtimeNs: bigint, source: FileIdentity): boolean {
  return mtimeNs === timeOfCopy(source.mtimeNs);
}

/** @returns whether a placed file is the identified source: the same inode for a link, the same size for a copy */
export async function isPlaced(target: string, identity: FileIdentity, placement: Placement): Promise<boolean> {
  const found: BigIntStats = await lstat(target, { bigint: true });
  if (!found.isFile()) return false;
  if (placement === "hard link") return isUnchanged(identityIn(found), identity);
  return found.size === identity.size && isTimeOfCopy(found.mtimeNs, identity);
}

async function copyWithProgress(source: string, target: string, { signal, onCopied }: PlaceOptions): Promise<void> {
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      onCopied?.(chunk.length);
      done(null, chunk);
    },
  });
  const chunks = { highWaterMark: 4 * 2 ** 20 };
  const stages = [
    createReadStream(source, chunks),
    counter,
    createWriteStream(target, { ...chunks, flags: "wx" }),
  ] as const;
  await pipeline(...stages, signal ? { signal } : {});
}

/** `.create-kv-scales-<tag>.partial`: the temporary file of `replaceFile`, which stays when the program is killed. */
const TEMPORARY = /^\.create-kv-scales-(.+)\.partial$/;

/** The tag in the name of a temporary file. */
export function tagOfTemporaryFile(name: string): string | undefined {
  return TEMPORARY.exec(name)?.[1];
}

/** An unused temporary name in `folder`. */
export function temporaryFile(folder: string): string {
  return join(folder, `.create-kv-scales-${temporaryTag()}.partial`);
}

/** The file at the path was not the one to be replaced. It has stayed. */
export class ReplacedMeanwhileError extends Error {}

/**
 * Writes a file whole or not at all: temporary name, fsync, exchange. A change that somebody made meanwhile is kept.
 * @param expected the file that is replaced; undefined when there is none
 * @returns the new file
 * @throws ReplacedMeanwhileError when another file has the name
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  expected: FileIdentity | undefined,
): Promise<FileIdentity> {
  const found = expected && (await stat(path).catch(() => undefined));
  if (expected !== undefined && found === undefined) throw new ReplacedMeanwhileError(path);
  const temporary = temporaryFile(dirname(path));
  const mode = found === undefined ? 0o666 : found.mode & 0o777;
  let written: FileIdentity | undefined;
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.writeFile(content);
      await file.sync();
      written = identityIn(await file.stat({ bigint: true }));
    } finally {
      await file.close();
    }
    if (expected === undefined) await putWhereNothingIs(temporary, path);
    else await putInPlaceOf(temporary, path, expected);
    await syncPath(dirname(path));
    return written;
  } finally {
    const left = await identifyFile(temporary);
    // A file that is neither ours nor the one to be replaced is somebody's edit, so it is kept.
    if (written === undefined || isUnchanged(left, written) || isUnchanged(left, expected)) {
      await rm(temporary, { force: true });
    }
  }
}

/** Writes a file whole or not at all and replaces any file of that name: temporary name, fsync, rename. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = temporaryFile(dirname(path));
  try {
    await writeFile(temporary, content, { flag: "wx", flush: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncPath(dirname(path));
}

/** A link fails where the name is taken; a rename would replace it. */
async function putWhereNothingIs(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (codeOf(error) === "EEXIST") throw new ReplacedMeanwhileError(path, { cause: error });
    if (isOutOfSpace(error)) throw error;
    if (await lstat(path).catch(() => undefined)) throw new ReplacedMeanwhileError(path, { cause: error });
    renameSync(temporary, path);
  }
}

/**
 * Where two paths can be exchanged, the replaced file is checked after that, and is put back if it is not the expected
 * one. Elsewhere it is checked just before, synchronously with the rename.
 */
async function putInPlaceOf(temporary: string, path: string, expected: FileIdentity): Promise<void> {
  if (!isUnchanged(await identifyFile(path), expected)) throw new ReplacedMeanwhileError(path);
  if (await exchangePaths(temporary, path)) {
    if (isUnchanged(await identifyFile(temporary), expected)) return;
    if (!(await exchangePaths(temporary, path))) renameSync(temporary, path);
    throw new ReplacedMeanwhileError(path);
  }
  const stats = lstatSync(path, { bigint: true });
  if (!stats.isSymbolicLink() && !isUnchanged(identityIn(stats), expected)) throw new ReplacedMeanwhileError(path);
  renameSync(temporary, path);
}

/** Removes the expected file. @throws ReplacedMeanwhileError when it is another one, which stays */
export async function removeFile(path: string, expected: FileIdentity): Promise<void> {
  if (!isUnchanged(await identifyFile(path), expected)) throw new ReplacedMeanwhileError(path);
  await unlink(path);
}

/** Flushes a file or a folder to disk. Folders cannot be opened on Windows, where renames are durable by themselves. */
export async function syncPath(path: string): Promise<void> {
  if (process.platform === "win32" && (await stat(path)).isDirectory()) return;
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isOutOfSpace(error: unknown): boolean {
  return codeOf(error) === "ENOSPC";
}
