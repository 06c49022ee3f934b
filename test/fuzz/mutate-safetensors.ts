// Changes a safetensors file as its format has it: the header's JSON, its length, its padding, how many bytes follow it.
// Knows nothing of tensors' values.

import { mutateJson, mutateText } from "./mutate-json.js";
import type { Random } from "./random.js";

/** A file that is long, but takes no place: its data are a hole. */
export interface SparseFile {
  readonly start: Uint8Array;
  readonly size: number;
}

const MAX_FILLED = 4096;

/** @param header the seed's header, as JSON. @param seedBytes what follows it in the seed */
export function mutateSafetensors(random: Random, header: string, seedBytes: number): SparseFile {
  const changed = random.chance(0.85) ? mutateJson(random, header) : mutateText(random, header);
  const laidOut = random.chance(0.5) ? layOut(changed) : undefined;
  const { text, dataBytes } = laidOut ?? { text: changed, dataBytes: seedBytes };
  const bytes = Buffer.from(text);
  const start = Buffer.alloc(8 + bytes.length);
  bytes.copy(start, 8);
  start.writeBigUInt64LE(random.chance(0.9) ? BigInt(bytes.length) : oddLength(random, bytes.length));
  if (random.chance(0.03)) start[random.below(start.length)] = random.below(256);
  const data = random.chance(0.9) ? dataBytes : random.pick([0, 1, dataBytes - 1, dataBytes + 1, 2 ** 31, 2 ** 40]);
  const size = Math.max(0, random.chance(0.97) ? start.length + data : random.below(start.length + 2));
  // Scales are read: little data are numbers, not a hole.
  const filled =
    size - start.length > MAX_FILLED
      ? start
      : Buffer.concat([start, Buffer.alloc(Math.max(0, size - start.length), 0x3f)]);
  return { start: filled.subarray(0, size), size };
}

const BYTES: Readonly<Record<string, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, U8: 1, I64: 8, BOOL: 1 };

/** Makes the offsets right again, so that what else was changed is looked at. Undefined when the text is no header. */
function layOut(text: string): { readonly text: string; readonly dataBytes: number } | undefined {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    return undefined;
  }
  let dataBytes = 0;
  for (const entry of Object.values(header ?? {}) as unknown[]) {
    if (!isEntry(entry)) continue;
    const bytes = entry.shape.reduce((product, size) => product * size, BYTES[String(entry.dtype)] ?? 0);
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > 2 ** 40) continue;
    entry.data_offsets = [dataBytes, dataBytes + bytes];
    dataBytes += bytes;
  }
  return { text: JSON.stringify(header), dataBytes };
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  data_offsets: unknown;
}

function isEntry(value: unknown): value is Entry {
  if (typeof value !== "object" || value === null || !("shape" in value && "dtype" in value)) return false;
  const { shape, dtype } = value;
  return typeof dtype === "string" && Array.isArray(shape) && shape.every((size) => typeof size === "number");
}

function oddLength(random: Random, length: number): bigint {
  const odd = [0, 1, 7, length - 1, length + 1, length + 2 ** 20, 2 ** 31, 2 ** 32 + length, 50_000_001];
  return random.chance(0.2) ? 2n ** 64n - 1n : BigInt(Math.max(0, random.pick(odd) ?? 0));
}
