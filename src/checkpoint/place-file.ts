// Puts a large file into a folder without rewriting it: hard link, else reflink, else a copy. And writes small files so
// that they survive a power cut. Knows nothing of checkpoints.

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
 * Makes `source` appear at `target`, in the cheapest way that the file system allows. A copy gets the time of its source,
 * rounded as `isTimeOfCopy` expects it, and is on disk when this returns.
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

/** Times of files on FAT are even seconds; every file system can hold those. */
const COPY_TIME_STEP_NS = 2n * NS_PER_SECOND;

function timeOfCopy(mtimeNs: bigint): bigint {
  return mtimeNs - (mtimeNs % COPY_TIME_STEP_NS);
}

/** Whether a file's time is the one that `placeFile` gave a copy of `source`: then nobody has changed it since. */
export function isTimeOfCopy(mtimeNs: bigint, source: FileIdentity): boolean {
  return mtimeNs === timeOfCopy(source.mtimeNs);
}

/** @returns whether a placed file is the source as it was identified: the same inode for a link, as large for a copy */
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

/** `.create-kv-scales-<tag>.partial`: what `replaceFile` leaves when the program is killed. */
const TEMPORARY = /^\.create-kv-scales-(.+)\.partial$/;

/** The tag in the name of a temporary file. */
export function tagOfTemporaryFile(name: string): string | undefined {
  return TEMPORARY.exec(name)?.[1];
}

/** A name in `folder` that nobody else uses. */
export function temporaryFile(folder: string): string {
  return join(folder, `.create-kv-scales-${temporaryTag()}.partial`);
}

/** A file was not the one that was to be replaced. What somebody else put there has stayed. */
export class ReplacedMeanwhileError extends Error {}

/**
 * Writes a file whole or not at all: temporary name, fsync, exchange. Somebody else's change in the meantime is kept.
 * @param expected the file that is replaced; undefined when there is none
 * @returns the new file
 * @throws ReplacedMeanwhileError when another file was found under the name
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
    // What is neither ours nor what was to go is somebody's edit that nothing could be done with but keep it.
    if (written === undefined || isUnchanged(left, written) || isUnchanged(left, expected)) {
      await rm(temporary, { force: true });
    }
  }
}

/** Writes a file whole or not at all, over whatever has the name: temporary name, fsync, rename. */
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

/** A link fails where a name is taken; a rename would not. */
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
 * Where two names can be exchanged, what was replaced is looked at afterwards, and goes back when it is not as expected.
 * Elsewhere it is looked at just before: between that and the renaming lies no turn of the event loop.
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

/** Removes a file that is as expected. @throws ReplacedMeanwhileError when it is another, which stays */
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
