// Opens and reads every input file: it must be a plain file, nothing is read past a limit, and nothing can hang. Knows
// nothing of the content.

import { constants, type Stats, statSync } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { CheckpointError, codeOf, type KvScalesError, messageOf } from "../errors.js";

/** The error class for a file that cannot be read: of the checkpoint, or of the prompts. */
export type RefusalClass = new (message: string, options?: { cause?: unknown }) => KvScalesError;

export interface PlainFile {
  readonly path: string;
  /** Of the opened file, whatever file has its name now. */
  readonly stats: Stats;
  /**
   * Exactly `length` bytes from `offset` on.
   * @throws the error class when the file is shorter or cannot be read
   */
  read(offset: number, length: number): Promise<Buffer>;
}

/** Opening a pipe without a writer would wait forever; with this flag it does not. Not on Windows. */
const READ_WITHOUT_WAITING = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** How much is read beyond a file's size, which some file systems (/proc) report as 0. */
const BEYOND_SIZE = 4096;

/**
 * Opens a plain file, or a link to one, while `use` runs.
 * @throws `Refusal` when it is not there, cannot be opened, or is something else: a folder, a pipe, a socket, a device.
 * Anything else is never opened
 */
export async function withPlainFile<Result>(
  path: string,
  use: (file: PlainFile) => Promise<Result>,
  Refusal: RefusalClass = CheckpointError,
): Promise<Result> {
  const { handle, stats } = await openPlainFile(path, Refusal);
  try {
    return await use({ path, stats, read: (offset, length) => readExactly(handle, path, offset, length, Refusal) });
  } finally {
    await handle.close();
  }
}

/**
 * Opens a plain file for a caller that closes it; `withPlainFile` is for all others.
 * @throws as `withPlainFile`
 */
export async function openPlainFile(
  path: string,
  Refusal: RefusalClass = CheckpointError,
): Promise<{ readonly handle: FileHandle; readonly stats: Stats }> {
  await requirePlainFile(path, Refusal);
  const handle = await attempt(path, Refusal, () => open(path, READ_WITHOUT_WAITING));
  try {
    // Another file may have taken its name since.
    const stats = await attempt(path, Refusal, () => handle.stat());
    if (!stats.isFile()) throw await notPlain(path, stats, Refusal);
    return { handle, stats };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Checks a path without opening the file.
 * @throws `Refusal` when it is not there, or no plain file
 */
export async function requirePlainFile(path: string, Refusal: RefusalClass = CheckpointError): Promise<Stats> {
  const stats = await attempt(path, Refusal, () => stat(path));
  if (!stats.isFile()) throw await notPlain(path, stats, Refusal);
  return stats;
}

/**
 * Checks, just before a library opens the file by its path, that it is still a plain file with so many bytes: with a
 * pipe the library would wait forever, and with a shorter file it would crash.
 * @throws CheckpointError
 */
export function requireStillPlain(path: string, bytes: number): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isFile() && stats.size >= bytes) return;
  const found = stats === undefined ? "nothing" : stats.isFile() ? `one of ${stats.size}` : kindOf(stats);
  throw new CheckpointError(
    `${path}: expected the file of at least ${bytes} bytes that was there when the checkpoint was opened, found ${found}. Leave the checkpoint alone while it is read.`,
  );
}

/**
 * The content of a plain file, also when its size changes meanwhile.
 * @throws `Refusal` when it cannot be read or is larger than `maxBytes`; no more than that is read
 */
async function readPlainFile(path: string, maxBytes: number, Refusal: RefusalClass = CheckpointError): Promise<Buffer> {
  const { handle, stats } = await openPlainFile(path, Refusal);
  try {
    if (stats.size > maxBytes) throw tooLarge(path, `${stats.size} bytes`, maxBytes, Refusal);
    const bytes = await attempt(path, Refusal, () => readUpTo(handle, stats.size, maxBytes + 1));
    if (bytes.length > maxBytes) throw tooLarge(path, "more", maxBytes, Refusal);
    return bytes;
  } finally {
    await handle.close();
  }
}

/** @throws `Refusal` as `readPlainFile`, and when the file is not UTF-8. A byte order mark is removed. */
export async function readPlainText(
  path: string,
  maxBytes: number,
  Refusal: RefusalClass = CheckpointError,
): Promise<string> {
  const bytes = await readPlainFile(path, maxBytes, Refusal);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Refusal(`${path}: cannot be read as UTF-8 text: ${messageOf(cause)}`, { cause });
  }
}

/** The path's file in words: its kind, and where a link leads. */
export async function describeFile(path: string, stats: Stats): Promise<string> {
  const target = await realpath(path).catch(() => path);
  return target === path ? kindOf(stats) : `${kindOf(stats)} (${target})`;
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a folder";
  if (stats.isFIFO()) return "a named pipe (FIFO)";
  if (stats.isSocket()) return "a socket";
  if (stats.isCharacterDevice() || stats.isBlockDevice()) return "a device";
  return stats.isFile() ? "a file" : "something else";
}

async function attempt<Result>(path: string, Refusal: RefusalClass, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (cause) {
    const isMissing = codeOf(cause) === "ENOENT";
    throw new Refusal(isMissing ? `${path}: not found` : `${path}: cannot be read: ${messageOf(cause)}`, { cause });
  }
}

async function notPlain(path: string, stats: Stats, Refusal: RefusalClass): Promise<KvScalesError> {
  const found = await describeFile(path, stats);
  return new Refusal(`${path}: cannot be read: expected a plain file, found ${found}`);
}

function tooLarge(path: string, found: string, maxBytes: number, Refusal: RefusalClass): KvScalesError {
  return new Refusal(`${path}: cannot be read: expected at most ${maxBytes} bytes, found ${found}`);
}

async function readExactly(
  handle: FileHandle,
  path: string,
  offset: number,
  length: number,
  Refusal: RefusalClass,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  const filled = await attempt(path, Refusal, () => fill(handle, bytes, offset));
  if (filled < length) {
    throw new Refusal(
      `${path}: the file ends at byte ${offset + filled}, but ${offset + length} were expected: it is truncated, or was changed while it was read`,
    );
  }
  return bytes;
}

async function readUpTo(handle: FileHandle, size: number, limit: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let total = 0;
  for (let wanted = size + BEYOND_SIZE; total < limit; wanted = 2 * wanted) {
    const part = Buffer.allocUnsafe(Math.min(wanted, limit - total));
    const filled = await fill(handle, part, total);
    parts.push(part.subarray(0, filled));
    total += filled;
    if (filled < part.length) break;
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}

/** Reads until `bytes` are full or the file ends. @returns how many bytes were read */
async function fill(handle: FileHandle, bytes: Buffer, offset: number): Promise<number> {
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}
