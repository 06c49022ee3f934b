// Safetensors files and folders for tests. Written from the format's README alone: nothing of src/ is used, and what is read
// is read by the npm package `safetensors`.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SafeTensor } from "safetensors";
import { afterEach, beforeEach } from "vitest";

export interface TensorSpec {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface TensorContent {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** The file that a header and data make, whatever they say. */
export function rawSafetensors(header: string | Uint8Array, data: Uint8Array = new Uint8Array()): Buffer {
  const headerBytes = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  return Buffer.concat([length, headerBytes, data]);
}

/** A sound file, its data in the order given. */
export function safetensorsOf(
  tensors: readonly TensorSpec[],
  { metadata, padding = 0 }: { metadata?: Readonly<Record<string, string>>; padding?: number } = {},
): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape, data }) => {
    const begin = end;
    end += data.length;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  if (metadata !== undefined) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  return rawSafetensors(`{${entries.join(",")}}${" ".repeat(padding)}`, Buffer.concat(tensors.map(({ data }) => data)));
}

/** A tensor of 16-bit weights whose bytes are all `fill`. */
export function weight(name: string, fill: number, shape: readonly number[] = [2, 2]): TensorSpec {
  const elements = shape.reduce((product, size) => product * size, 1);
  return { name, dtype: "BF16", shape, data: new Uint8Array(elements * 2).fill(fill) };
}

/** A scale as an earlier run wrote it. */
export function scale(name: string, value: number, shape: readonly number[] = []): TensorSpec {
  return { name, dtype: "F32", shape, data: new Uint8Array(Float32Array.of(value).buffer) };
}

/** What the npm package reads. It does not know __metadata__, so that is blanked; no byte moves. */
export function readTensors(file: Uint8Array): Map<string, TensorContent> {
  const copy = new Uint8Array(file);
  const headerEnd = 8 + Number(new DataView(copy.buffer).getBigUint64(0, true));
  const header = Buffer.from(copy.subarray(8, headerEnd)).toString("latin1");
  const blanked = header.replace(/^\{"__metadata__":\{[^}]*\},?/, (found) => `{${" ".repeat(found.length - 1)}`);
  copy.set(Buffer.from(blanked, "latin1"), 8);
  const reader = new SafeTensor(copy);
  return new Map(
    [...reader.metadata].map(([name, { dtype, shape }]) => [name, { dtype, shape, bytes: reader.getTensor(name) }]),
  );
}

/** Writes files by name; a name with a slash lies in a folder. */
export async function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

/** Everything below a folder, hidden files too: path to content, so that two states can be compared. */
export async function readTree(folder: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  for (const entry of (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink()) tree[entry.name] = "a link";
    else if (entry.isFile()) tree[entry.name] = (await readFile(path)).toString("latin1");
    else {
      tree[`${entry.name}/`] = "a folder";
      for (const [name, content] of Object.entries(await readTree(path))) tree[`${entry.name}/${name}`] = content;
    }
  }
  return tree;
}

/** A fresh folder for each test of the file, removed after it. Call the result for its path. */
export function temporaryFolder(): () => string {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "create-kv-scales-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  return () => folder;
}
