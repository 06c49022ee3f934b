// The list of a new folder's files in its kv_scales.json. Tells from that list what in an earlier result is not ours,
// or would be lost with it. Knows nothing of scales.

import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../errors.js";
import type { FileIdentity } from "./file-identity.js";
import { parseJson } from "./json-text.js";
import { isTimeOfCopy } from "./place-file.js";

/** The record in an output. --force replaces only a folder with this file. */
export const RECORD_FILE = "kv_scales.json";

/** Far larger than any record: one of 1,000 layers and 3,000 files has 1 MB. */
const MAX_RECORD_BYTES = 50_000_000;

export interface WrittenFile {
  readonly name: string;
  readonly bytes: number;
  /** Hash of the content; absent for weights, which are not read. */
  readonly sha256?: string;
}

/**
 * kv_scales.json of a new folder: the scales' record, the folder's other files, and a hash of all that. Of weights it
 * has the size, not their place on this disk: the same input gives the same bytes everywhere.
 */
export function withFiles(recordText: string, files: readonly WrittenFile[]): string {
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  const record = { ...parseObject(recordText), files: sorted };
  return textOf({ ...record, record_sha256: hashOf(record) });
}

/** kv_scales.json without the keys that only a new folder has. */
export function withoutFiles(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { files: _files, record_sha256: _hash, ...known } = record;
  return known;
}

function textOf(record: object): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}

function hashOf(record: object): string {
  return createHash("sha256").update(textOf(record)).digest("hex");
}

/** Whether a folder's kv_scales.json was made by this program, changed or not. */
export async function hasRecordOfOurs(folder: string): Promise<boolean> {
  const text = await readRecordText(folder);
  return text !== undefined && parseObject(text)?.tool === "create-kv-scales";
}

/** The files of a new folder, by name; undefined when its record is absent, changed, or of a run in place. */
async function readWrittenFiles(folder: string): Promise<Map<string, WrittenFile> | undefined> {
  const text = await readRecordText(folder);
  const record = text === undefined ? undefined : parseObject(text);
  if (record === undefined || record.tool !== "create-kv-scales" || text !== textOf(record)) return undefined;
  const { record_sha256: hash, ...rest } = record;
  if (hash !== hashOf(rest) || !Array.isArray(rest.files) || !rest.files.every(isWrittenFile)) return undefined;
  return new Map(rest.files.map((file) => [file.name, file]));
}

async function readRecordText(folder: string): Promise<string | undefined> {
  const path = join(folder, RECORD_FILE);
  const found = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) !== "ENOENT") throw error;
  });
  if (!found?.isFile() || found.size > MAX_RECORD_BYTES) return undefined;
  const file = await open(path, "r");
  try {
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const json = parseJson(RECORD_FILE, text);
    return typeof json === "object" && json !== null && !Array.isArray(json) ? { ...json } : undefined;
  } catch {
    return undefined;
  }
}

function isWrittenFile(value: unknown): value is WrittenFile {
  if (typeof value !== "object" || value === null || !("name" in value) || !("bytes" in value)) return false;
  const hasHash = !("sha256" in value) || typeof value.sha256 === "string";
  return typeof value.name === "string" && typeof value.bytes === "number" && hasHash;
}

/** The files of a folder that is still all ours; undefined for any other. */
export async function filesOfOurs(folder: string, input: InputWeights): Promise<readonly WrittenFile[] | undefined> {
  const foreign = await listForeign(folder, input);
  return foreign?.length === 0 ? [...((await readWrittenFiles(folder))?.values() ?? [])] : undefined;
}

/** A file of a new folder, for its record. */
export function writtenFile(name: string, content: Uint8Array): WrittenFile {
  return { name, bytes: content.length, sha256: createHash("sha256").update(content).digest("hex") };
}

/** Weights of the run's input, by their names in the result. */
export type InputWeights = ReadonlyMap<string, FileIdentity>;

export interface Foreign {
  readonly name: string;
  /** Why it must stay. */
  readonly reason: string;
}

/**
 * What forbids removing a folder: everything in it that is not exactly as a run of this program left it, and weights
 * that would be lost with it. Weights are not lost when another hard link leads to them, or when they are a copy of
 * what the present input still has.
 * @returns an empty list when the folder may be removed; undefined when no run of this program made it
 */
export async function listForeign(folder: string, input: InputWeights): Promise<Foreign[] | undefined> {
  const files = await readWrittenFiles(folder);
  if (files === undefined) return undefined;
  const names = (await readdir(folder)).filter((name) => name !== RECORD_FILE);
  const found = new Map(
    await Promise.all(names.map(async (name) => [name, await lstat(join(folder, name), { bigint: true })] as const)),
  );
  const foreign: Foreign[] = [];
  for (const [name, stats] of found) {
    const written = files.get(name);
    const reason =
      written === undefined
        ? "not from this program"
        : written.sha256 === undefined
          ? reasonToKeepWeights(stats, written, [...found.values()], input.get(name))
          : await reasonToKeepFile(join(folder, name), stats, written);
    if (reason !== undefined) foreign.push({ name, reason });
  }
  return foreign;
}

const CHANGED = "changed since";

function reasonToKeepWeights(
  stats: BigIntStats,
  written: WrittenFile,
  folder: readonly BigIntStats[],
  input: FileIdentity | undefined,
): string | undefined {
  if (!stats.isFile() || stats.size !== BigInt(written.bytes)) return CHANGED;
  const linksHere = folder.filter(({ ino, dev }) => ino === stats.ino && dev === stats.dev).length;
  if (stats.nlink > linksHere) return undefined;
  const isCopy = input !== undefined && input.size === stats.size && isTimeOfCopy(stats.mtimeNs, input);
  return isCopy ? undefined : "weights that are nowhere else, as far as is known";
}

async function reasonToKeepFile(path: string, stats: BigIntStats, written: WrittenFile): Promise<string | undefined> {
  if (!stats.isFile() || stats.size !== BigInt(written.bytes)) return CHANGED;
  return (await sha256Of(path)) === written.sha256 ? undefined : CHANGED;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = await open(path, "r");
  try {
    const chunk = Buffer.alloc(2 ** 20);
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length);
      if (bytesRead === 0) return hash.digest("hex");
      hash.update(chunk.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
