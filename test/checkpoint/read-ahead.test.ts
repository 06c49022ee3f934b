// Reading ahead: every byte that was named is read, and nothing that goes wrong is anyone's error yet.

import { readdirSync, readlinkSync } from "node:fs";
import { type FileHandle, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { readAhead } from "../../src/checkpoint/read-ahead.js";
import { temporaryFolder } from "../helpers/golden-checkpoints.js";

const MEBIBYTE = 2 ** 20;

afterEach(() => vi.restoreAllMocks());

/** Every read of a file, as [position, length]. */
async function watchReads(file: string): Promise<[number, number][]> {
  const reads: [number, number][] = [];
  const handle = await open(file, "r");
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { read } = prototype;
  vi.spyOn(prototype, "read").mockImplementation(function (this: FileHandle, ...args: unknown[]) {
    const [, , length, position] = args as [unknown, unknown, number, number];
    reads.push([position, length]);
    return Reflect.apply(read, this, args) as ReturnType<FileHandle["read"]>;
  });
  return reads;
}

test("every byte of the ranges is read, piece by piece, and no other", async () => {
  const file = join(await temporaryFolder(), "shard");
  await writeFile(file, new Uint8Array(40 * MEBIBYTE));
  const reads = await watchReads(file);
  await readAhead([
    { file, offset: 5, byteLength: 33 * MEBIBYTE },
    { file, offset: 39 * MEBIBYTE, byteLength: 7 },
  ]);
  expect(reads.toSorted(([a], [b]) => a - b)).toEqual([
    [5, 16 * MEBIBYTE],
    [5 + 16 * MEBIBYTE, 16 * MEBIBYTE],
    [5 + 32 * MEBIBYTE, MEBIBYTE],
    [39 * MEBIBYTE, 7],
  ]);
});

test("a file that is not there, and a range beyond the end of one, fail nothing", async () => {
  const file = join(await temporaryFolder(), "shard");
  await writeFile(file, "short");
  const ranges = [
    { file: `${file}.gone`, offset: 0, byteLength: 9 },
    { file, offset: 100, byteLength: 9 },
  ];
  await expect(readAhead(ranges)).resolves.toBeUndefined();
  await expect(readAhead([])).resolves.toBeUndefined();
});

test.skipIf(process.platform !== "linux")("no file stays open", async () => {
  const file = join(await temporaryFolder(), "shard");
  await writeFile(file, "bytes");
  await readAhead([{ file, offset: 0, byteLength: 5 }]);
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  expect(links).not.toContain(file);
});
