// Brings parts of files into the operating system's page cache before they are needed, so that whoever maps them next
// does not wait for the disk. Keeps nothing of what it reads.

import { type FileHandle, open } from "node:fs/promises";

export interface ByteRange {
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** So much is asked for at a time: the answers need the main thread, which may be busy computing. */
const PIECE_BYTES = 16 * 2 ** 20;

/**
 * Reads all ranges in the background, in the order they are given.
 * @returns when all are read. Never fails: whoever needs the bytes meets the error, with more to say about it
 */
export async function readAhead(ranges: readonly ByteRange[]): Promise<void> {
  const scratch = new Uint8Array(PIECE_BYTES); // every piece lands here, on top of the last
  const handles = new Map<string, Promise<FileHandle>>();
  const handleOf = (file: string) => {
    const handle = handles.get(file) ?? open(file, "r");
    handles.set(file, handle);
    return handle;
  };
  const pieces = ranges.flatMap(({ file, offset, byteLength }) =>
    Array.from({ length: Math.ceil(byteLength / PIECE_BYTES) }, (_, index) => {
      const start = index * PIECE_BYTES;
      return { file, position: offset + start, length: Math.min(PIECE_BYTES, byteLength - start) };
    }),
  );
  await Promise.allSettled(
    pieces.map(async ({ file, position, length }) => (await handleOf(file)).read(scratch, 0, length, position)),
  );
  await Promise.allSettled([...handles.values()].map(async (handle) => (await handle).close()));
}
