// Reads rows of a Parquet file, one row group after the other, only the columns with prompts. Knows the compressions
// and the limits of a group; nothing of what a row means.

import zlib from "node:zlib";
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
} from "hyparquet";
import { snappyUncompress } from "hyparquet/src/snappy.js";
import { isObject } from "../checkpoint/json-text.js";
import { type PlainFile, withPlainFile } from "../checkpoint/plain-file.js";
import { KvScalesError, messageOf, PromptDataError } from "../errors.js";

/** Of one page, decompressed: writers make pages of a megabyte, and one value more. */
const MAX_PAGE_BYTES = 2 ** 27;
/** Of the wanted columns of a row group, decompressed: writers make groups of some 100 MB, all columns together. */
const MAX_GROUP_BYTES = 2 ** 29;

type Row = Readonly<Record<string, unknown>>;

/**
 * Reads a file's rows in their order, each with those of `columns` that the file has.
 * @param onRow is given each row, and says whether it wants another
 * @throws PromptDataError when it is no Parquet file, is damaged, has none of the columns, holds too much at once, or is
 * compressed in a way that this Node cannot read
 */
export async function readParquetRows(
  path: string,
  columns: readonly string[],
  onRow: (row: Row) => boolean,
): Promise<void> {
  try {
    await withPlainFile(path, (file) => readGroups(file, columns, onRow), PromptDataError);
  } catch (cause) {
    if (cause instanceof KvScalesError) throw cause;
    throw new PromptDataError(`${path}: cannot be read as Parquet: ${messageOf(cause)}`, { cause });
  }
}

async function readGroups(file: PlainFile, columns: readonly string[], onRow: (row: Row) => boolean): Promise<void> {
  const failures: unknown[] = [];
  const buffer: AsyncBuffer = {
    byteLength: file.stats.size,
    // The library does not handle rejected promises, which would end the process: unreadable parts are given to it as
    // empty.
    slice: (start, end = file.stats.size) =>
      readSlice(file, start, end).catch((cause: unknown) => {
        failures.push(cause);
        return new ArrayBuffer(0);
      }),
  };
  const orFailure = async <Result>(work: Promise<Result>): Promise<Result> => {
    const [result] = await Promise.allSettled([work]);
    if (failures.length > 0) throw failures[0];
    if (result.status === "rejected") throw result.reason;
    return result.value;
  };
  const metadata = await orFailure(parquetMetadataAsync(buffer));
  const present = namesOf(metadata).filter((name) => columns.includes(name));
  if (present.length === 0) {
    throw new PromptDataError(
      `${file.path}: expected one of the columns ${columns.join(", ")}; found ${namesOf(metadata).join(", ") || "none"}. Name the column of the prompts: --data-column`,
    );
  }
  let rowStart = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    requireReadable(`${file.path}: row group ${index + 1}`, group, present, parquetSchema(metadata));
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = await orFailure(
      parquetReadObjects({ file: buffer, metadata, columns: present, rowStart, rowEnd, compressors: COMPRESSORS }),
    );
    for (const row of rows) if (!onRow(plainRow(row))) return;
    rowStart = rowEnd;
  }
}

async function readSlice(file: PlainFile, start: number, end: number): Promise<ArrayBuffer> {
  const isWithin = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end;
  if (!isWithin || end > file.stats.size) throw new Error(`it has no bytes ${start} to ${end}`);
  return new Uint8Array(await file.read(start, end - start)).buffer; // a copy: what is read may lie in a pool
}

function namesOf({ schema }: FileMetaData): string[] {
  // The first element is the root; its children follow, each with all of its own.
  const names: string[] = [];
  for (let at = 1; at < schema.length; at = afterElement(schema, at)) names.push(schema[at]?.name ?? "");
  return names;
}

function afterElement(schema: FileMetaData["schema"], at: number): number {
  let open = 1;
  let next = at;
  for (; open > 0 && next < schema.length; next++) open += (schema[next]?.num_children ?? 0) - 1;
  return next;
}

/** @throws PromptDataError when the wanted columns of a group cannot be decompressed, or would fill the memory */
function requireReadable(
  where: string,
  group: FileMetaData["row_groups"][number],
  wanted: readonly string[],
  schema: SchemaTree,
): void {
  let bytes = 0;
  for (const { meta_data: chunk } of group.columns) {
    if (chunk === undefined || !wanted.includes(chunk.path_in_schema[0] ?? "")) continue;
    // The library would find that in the middle of other work.
    if (!isInSchema(schema, chunk.path_in_schema))
      throw new Error(`no column is called ${chunk.path_in_schema.join(".")}`);
    bytes += Number(chunk.total_uncompressed_size);
    if (chunk.codec === "UNCOMPRESSED" || COMPRESSORS[chunk.codec] !== undefined) continue;
    const node = chunk.codec === "ZSTD" ? " Node 22.15 or later reads ZSTD." : "";
    throw new PromptDataError(
      `${where}: is compressed with ${chunk.codec}; read are SNAPPY and ${Object.keys(COMPRESSORS).slice(1).join(", ")}.${node} Write the file with SNAPPY, or as .jsonl.`,
    );
  }
  if (bytes > MAX_GROUP_BYTES) {
    throw new PromptDataError(
      `${where}: has ${bytes} bytes in ${wanted.join(", ")}, more than the limit of ${MAX_GROUP_BYTES}. Write the file with smaller row groups.`,
    );
  }
}

function isInSchema(schema: SchemaTree, path: readonly string[]): boolean {
  let element: SchemaTree | undefined = schema;
  for (const name of path) element = element?.children.find((child) => child.element.name === name);
  return element !== undefined;
}

const COMPRESSORS: Compressors = {
  SNAPPY: (input, length) => {
    const output = new Uint8Array(requirePageSize(length));
    snappyUncompress(input, output);
    return output;
  },
  GZIP: (input, length) => zlib.gunzipSync(input, { maxOutputLength: Math.max(1, requirePageSize(length)) }),
  BROTLI: (input, length) =>
    zlib.brotliDecompressSync(input, { maxOutputLength: Math.max(1, requirePageSize(length)) }),
  ...zstd(),
};

/** Node has it since 22.15. */
function zstd(): Compressors {
  const decompress: unknown = Reflect.get(zlib, "zstdDecompressSync");
  if (typeof decompress !== "function") return {};
  return { ZSTD: (input, length) => decompress(input, { maxOutputLength: Math.max(1, requirePageSize(length)) }) };
}

function requirePageSize(length: number): number {
  if (length <= MAX_PAGE_BYTES) return length;
  throw new Error(`a page has ${length} bytes, more than the limit of ${MAX_PAGE_BYTES}`);
}

function plainRow(row: Row): Row {
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [key, plainValue(value)]));
}

/** As JSON has it: 64-bit integers become numbers, dates become text, and bytes, which are no prompt, nothing. */
function plainValue(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value === undefined || ArrayBuffer.isView(value)) return null;
  if (Array.isArray(value)) return value.map(plainValue);
  return isObject(value) ? plainRow(value) : value;
}
