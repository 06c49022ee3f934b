// Reads parts of files into the operating system's page cache before they are needed, so that mapping them later does
// not wait for the disk. Keeps nothing of what it reads.

import { openPlainFile } from "./plain-file.js";

export interface ByteRange {
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** Bytes of a read: its completion needs the main thread, which may be busy computing. */
const PIECE_BYTES = 16 * 2 ** 20;

/** Number of files open at a time. */
const MAX_FILES = 8;

/**
 * Reads all ranges in the background, file by file, in the given order.
 * @returns when all are read. Never fails: the later reader of the bytes gets the error, and can say more about it
 */
export async function readAhead(ranges: readonly ByteRange[]): Promise<void> {
  const scratch = new Uint8Array(PIECE_BYTES); // every piece lands here, on top of the last
  const files = [...new Set(ranges.map(({ file }) => file))];
  for (let first = 0; first < files.length; first += MAX_FILES) {
    const together = files.slice(first, first + MAX_FILES);
    await Promise.allSettled(
      together.map((file) =>
        readPieces(
          file,
          ranges.filter((range) => range.file === file),
          scratch,
        ),
      ),
    );
  }
}

async function readPieces(path: string, ranges: readonly ByteRange[], scratch: Uint8Array): Promise<void> {
  const { handle } = await openPlainFile(path);
  const pieces = ranges.flatMap(({ offset, byteLength }) =>
    Array.from({ length: Math.ceil(byteLength / PIECE_BYTES) }, (_, index) => {
      const start = index * PIECE_BYTES;
      return { position: offset + start, length: Math.min(PIECE_BYTES, byteLength - start) };
    }),
  );
  await Promise.allSettled(pieces.map(({ position, length }) => handle.read(scratch, 0, length, position)));
  await handle.close();
}
