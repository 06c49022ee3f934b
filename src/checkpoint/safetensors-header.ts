// Reads and checks the header of a safetensors file: 8 bytes of length, then JSON with the place of each tensor. Never
// reads tensor data. Each broken rule of the format has its own error, naming file and tensor.

import { CheckpointError } from "../errors.js";
import { findDuplicateKey, isObject, parseJsonObject, showJson } from "./json-text.js";
import { type PlainFile, withPlainFile } from "./plain-file.js";

/** Bytes per element of the format's dtypes, without F4 and F6, which pack several elements. */
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

/**
 * The format allows 100 MB, padded with spaces. The largest model's tensors, 280,000 in 200 files, would have 40 MB if they
 * were in one. A longer header is an attack or a damaged file, and would take seconds and gigabytes to parse.
 */
const MAX_HEADER_BYTES = 50_000_000;

/** The longest known names have 150 characters. */
const MAX_NAME_CHARACTERS = 1024;

/** PyTorch and NumPy have no tensors of more dimensions. */
const MAX_DIMENSIONS = 64;

export interface TensorEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Offset of the data in the file. */
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
  return withPlainFile(path, async (file) => parseHeader(path, await readHeaderText(file), file.stats.size));
}

async function readHeaderText({ path, stats, read }: PlainFile): Promise<string> {
  const fileBytes = stats.size;
  if (fileBytes < 8) {
    throw new CheckpointError(
      `${path}: expected a safetensors file, which begins with 8 bytes of header length; the file has ${fileBytes} bytes. Download it again.`,
    );
  }
  const prefix = await read(0, 8);
  if (prefix.toString("latin1").startsWith("version ")) {
    throw new CheckpointError(
      `${path}: this is a Git LFS pointer, not the weights. Run "git lfs pull" in the checkpoint's folder.`,
    );
  }
  const headerBytes = prefix.readBigUInt64LE();
  if (headerBytes > BigInt(MAX_HEADER_BYTES)) {
    throw new CheckpointError(
      `${path}: the header claims ${headerBytes} bytes; expected at most ${MAX_HEADER_BYTES}, which is more than any model needs. The file is damaged or not safetensors.`,
    );
  }
  const length = Number(headerBytes);
  if (8 + length > fileBytes) {
    throw new CheckpointError(
      `${path}: the header claims ${length} bytes, but only ${fileBytes - 8} follow. The file is truncated: download it again.`,
    );
  }
  const bytes = await read(8, length);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(`${path}: the header is not valid UTF-8`, { cause });
  }
}

function parseHeader(path: string, text: string, fileBytes: number): SafetensorsHeader {
  if (!text.startsWith("{")) throw new CheckpointError(`${path}: the header must begin with "{"`);
  const json = parseJsonObject(`${path}: the header`, text);
  const duplicate = findDuplicateKey(text, json);
  if (duplicate !== undefined) {
    throw new CheckpointError(`${path}: tensor "${duplicate}" is in the header twice`);
  }
  const dataStart = 8 + Buffer.byteLength(text);
  const tensors: TensorEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== "__metadata__") tensors.push(parseTensorEntry(path, name, value, dataStart, fileBytes));
  }
  checkLayout(path, tensors, dataStart, fileBytes);
  return { metadata: parseMetadata(path, json.__metadata__), tensors, fileBytes };
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
  if (name.length > MAX_NAME_CHARACTERS) {
    throw new CheckpointError(
      `${path}: tensor "${name.slice(0, 80)}…": expected a name of at most ${MAX_NAME_CHARACTERS} characters, found ${name.length}`,
    );
  }
  const fail = (problem: string): never => {
    throw new CheckpointError(`${path}: tensor "${name}": ${problem}`);
  };
  if (!isObject(value)) return fail("its header entry is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  const bytesPerElement = typeof dtype === "string" ? BYTES_PER_ELEMENT.get(dtype) : undefined;
  if (typeof dtype !== "string" || bytesPerElement === undefined) {
    return fail(`unknown dtype ${showJson(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(`its shape must be a list of non-negative integers, found ${showJson(shape)}`);
  }
  if (shape.length > MAX_DIMENSIONS) {
    return fail(`expected a shape of at most ${MAX_DIMENSIONS} dimensions, found ${shape.length}`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(`data_offsets must be two non-negative integers, found ${showJson(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (end < begin) return fail(`data_offsets end (${end}) before they begin (${begin})`);
  if (dataStart + end > fileBytes) {
    return fail(
      `its data ends at byte ${dataStart + end}, but the file has ${fileBytes} bytes. The file is truncated: download it again.`,
    );
  }
  const bytes = shape.includes(0)
    ? 0
    : shape.reduce((product: number, size: number) => product * size, bytesPerElement);
  if (bytes !== end - begin) {
    const needed = Number.isSafeInteger(bytes) ? bytes : "too many";
    return fail(`shape [${shape.join(", ")}] of ${dtype} needs ${needed} bytes, but data_offsets span ${end - begin}`);
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

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
