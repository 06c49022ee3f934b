// Puts a large file into a folder without rewriting it: hard link, else reflink, else a copy. And writes small files so
// that they survive a power cut. Knows nothing of checkpoints.

import { constants, createReadStream, createWriteStream } from "node:fs";
import { copyFile, link, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";

export type Placement = "hard link" | "reflink" | "copy";

export interface PlaceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called while bytes are copied; never for links. */
  readonly onCopied?: ((bytes: number) => void) | undefined;
}

/** Makes `source` appear at `target`, in the cheapest way that the file system allows. */
export async function placeFile(source: string, target: string, options: PlaceOptions = {}): Promise<Placement> {
  try {
    await link(source, target);
    return "hard link";
  } catch (error) {
    if (isOutOfSpace(error)) throw error;
  }
  try {
    await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return "reflink";
  } catch (error) {
    if (isOutOfSpace(error)) throw error;
  }
  await copyWithProgress(source, target, options);
  return "copy";
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
  await syncPath(target);
}

/** Writes a file whole or not at all: temporary name, fsync, rename. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${process.pid}.partial`);
  const file = await open(temporary, "w");
  try {
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncPath(dirname(path));
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
  return (error as NodeJS.ErrnoException).code === "ENOSPC";
}
