// Reads and checks the header of a safetensors file: 8 bytes of length, then JSON that says where each tensor lies.
// Never reads tensor data. Each broken rule of the format has its own error, naming file and tensor.

import { type FileHandle, open } from "node:fs/promises";
import { visit } from "jsonc-parser";
import { CheckpointError, messageOf } from "../errors.js";

/** Bytes per element of the dtypes of the format. F4 and F6 types are left out: they pack several elements. */
const BYTES_PER_ELEMENT: ReadonlyMap<string, number> = new Map(
  Object.entries({
    BOOL: 1,
    U8: 1,
    I8: 1,
    F8_E4M3: 1,
    F8_E5M2: 1,
    F8_E8M0: 1,
    F8_E4M3FNUZ: 1,
    F8_E5M2FNUZ: 1,
    U16: 2,
    I16: 2,
    F16: 2,
    BF16: 2,
    U32: 4,
    I32: 4,
    F32: 4,
    U64: 8,
    I64: 8,
    F64: 8,
    C64: 8,
  }),
);

/** The limit of the reference implementation: a longer header is an attack or a damaged file. */
const MAX_HEADER_BYTES = 100_000_000;

/** The limit of the reference implementation's JSON parser. Far deeper ones would exhaust the stack here. */
export const MAX_NESTING = 128;

export interface TensorEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Where the data begins, counted from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: readonly TensorEntry[];
  readonly fileBytes: number;
}

/**
 * Reads the header of a safetensors file and checks every offset against the file's size.
 * @throws CheckpointError naming the file, the tensor and the broken rule
 */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (cause) {
    throw new CheckpointError(`${path}: cannot be opened: ${messageOf(cause)}`, { cause });
  }
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new CheckpointError(`${path}: expected a safetensors file, found a folder`);
    const { size } = found;
    return parseHeader(path, await readHeaderText(file, path, size), size);
  } finally {
    await file.close();
  }
}

async function readHeaderText(file: FileHandle, path: string, fileBytes: number): Promise<string> {
  if (fileBytes < 8) {
    throw new CheckpointError(
      `${path}: expected a safetensors file, which begins with 8 bytes of header length; the file has ${fileBytes} bytes. Download it again.`,
    );
  }
  const prefix = Buffer.alloc(8);
  await file.read(prefix, 0, 8, 0);
  if (prefix.toString("latin1").startsWith("version ")) {
    throw new CheckpointError(
      `${path}: this is a Git LFS pointer, not the weights. Run "git lfs pull" in the checkpoint's folder.`,
    );
  }
  const headerBytes = prefix.readBigUInt64LE();
  if (headerBytes > BigInt(MAX_HEADER_BYTES)) {
    throw new CheckpointError(
      `${path}: the header claims ${headerBytes} bytes; the format allows at most ${MAX_HEADER_BYTES}. The file is damaged or not safetensors.`,
    );
  }
  const length = Number(headerBytes);
  if (8 + length > fileBytes) {
    throw new CheckpointError(
      `${path}: the header claims ${length} bytes, but only ${fileBytes - 8} follow. The file is truncated: download it again.`,
    );
  }
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, 8);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(`${path}: the header is not valid UTF-8`, { cause });
  }
}

function parseHeader(path: string, text: string, fileBytes: number): SafetensorsHeader {
  const json = parseJsonObject(path, text);
  const dataStart = 8 + Buffer.byteLength(text);
  const tensors: TensorEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== "__metadata__") tensors.push(parseTensorEntry(path, name, value, dataStart, fileBytes));
  }
  checkLayout(path, tensors, dataStart, fileBytes);
  return { metadata: parseMetadata(path, json.__metadata__), tensors, fileBytes };
}

function parseJsonObject(path: string, text: string): Record<string, unknown> {
  if (!text.startsWith("{")) throw new CheckpointError(`${path}: the header must begin with "{"`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${path}: the header is not valid JSON: ${messageOf(cause)}`, { cause });
  }
  const duplicate = findDuplicateKey(path, text);
  if (duplicate !== undefined) {
    throw new CheckpointError(`${path}: tensor "${duplicate}" is in the header twice`);
  }
  return json as Record<string, unknown>;
}

/** JSON.parse keeps the last of two equal keys without a word, so the text is walked once more. */
function findDuplicateKey(path: string, text: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  let duplicate: string | undefined;
  const enter = () => {
    depth++;
    if (depth > MAX_NESTING) throw new CheckpointError(`${path}: the header nests deeper than ${MAX_NESTING} levels`);
  };
  const leave = () => {
    depth--;
  };
  visit(text, {
    onObjectBegin: enter,
    onObjectEnd: leave,
    onArrayBegin: enter,
    onArrayEnd: leave,
    onObjectProperty: (name) => {
      if (depth !== 1) return;
      if (seen.has(name)) duplicate ??= name;
      seen.add(name);
    },
  });
  return duplicate;
}

function parseMetadata(path: string, value: unknown): Record<string, string> {
  if (value === undefined) return {};
  if (!isObject(value) || Object.values(value).some((entry) => typeof entry !== "string")) {
    throw new CheckpointError(`${path}: __metadata__ must be an object of strings`);
  }
  return value as Record<string, string>;
}

function parseTensorEntry(
  path: string,
  name: string,
  value: unknown,
  dataStart: number,
  fileBytes: number,
): TensorEntry {
  const fail = (problem: string): never => {
    throw new CheckpointError(`${path}: tensor "${name}": ${problem}`);
  };
  if (!isObject(value)) return fail("its header entry is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  const bytesPerElement = typeof dtype === "string" ? BYTES_PER_ELEMENT.get(dtype) : undefined;
  if (typeof dtype !== "string" || bytesPerElement === undefined) {
    return fail(`unknown dtype ${JSON.stringify(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(`its shape must be a list of non-negative integers, found ${JSON.stringify(shape)}`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(`data_offsets must be two non-negative integers, found ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (end < begin) return fail(`data_offsets end (${end}) before they begin (${begin})`);
  if (dataStart + end > fileBytes) {
    return fail(
      `its data ends at byte ${dataStart + end}, but the file has ${fileBytes} bytes. The file is truncated: download it again.`,
    );
  }
  const elements = shape.reduce((product: number, size: number) => product * size, 1);
  if (elements * bytesPerElement !== end - begin) {
    return fail(
      `shape [${shape.join(", ")}] of ${dtype} needs ${elements * bytesPerElement} bytes, but data_offsets span ${end - begin}`,
    );
  }
  return { name, dtype, shape, offset: dataStart + begin, byteLength: end - begin };
}

/** Tensors must follow each other without overlap or gap, and fill the file. */
function checkLayout(path: string, tensors: readonly TensorEntry[], dataStart: number, fileBytes: number): void {
  const byOffset = [...tensors].sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = dataStart;
  let previous = "the header";
  for (const tensor of byOffset) {
    if (tensor.offset < end) {
      throw new CheckpointError(`${path}: tensor "${tensor.name}" overlaps ${previous}`);
    }
    if (tensor.offset > end) {
      throw new CheckpointError(
        `${path}: ${tensor.offset - end} bytes between ${previous} and tensor "${tensor.name}" belong to no tensor`,
      );
    }
    end = tensor.offset + tensor.byteLength;
    previous = `tensor "${tensor.name}"`;
  }
  if (end !== fileBytes) {
    throw new CheckpointError(`${path}: ${fileBytes - end} bytes after ${previous} belong to no tensor`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
