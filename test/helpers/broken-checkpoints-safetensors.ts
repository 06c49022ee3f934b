// Broken safetensors files: lengths, JSON, entries, truncations, and bytes of the header flipped at random.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { type BrokenInput, CHECKPOINT_UNREADABLE, editBytes, put, seededRandom, shown } from "./broken-checkpoints.js";
import { GOLDEN_WEIGHTS, SINGLE_FILE } from "./example-checkpoint.js";
import { joinFile, type RawEntry, splitFile } from "./example-checkpoint-safetensors.js";

const exitCode = CHECKPOINT_UNREADABLE;
const KEY_WEIGHT = "model.layers.1.self_attn.k_proj.weight";
const ORIGINAL = readFileSync(GOLDEN_WEIGHTS);
const FILE_BYTES = ORIGINAL.length;
const HEADER_BYTES = Number(ORIGINAL.readBigUInt64LE());

const FILES: readonly [name: string, content: string | Buffer, says: RegExp][] = [
  ["empty", "", /8 bytes of header length; the file has 0 bytes/],
  ["one byte", "x", /the file has 1 bytes/],
  ["seven bytes", "1234567", /the file has 7 bytes/],
  ["a header of no bytes", Buffer.alloc(8), /not valid JSON|header/],
  ["nothing but zeros", Buffer.alloc(4096), /not valid JSON|header/],
  [
    "a Git LFS pointer",
    "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 120464\n",
    /Git LFS pointer.*git lfs pull/,
  ],
  ["a web page", "<!DOCTYPE html><html><body>Not found</body></html>", /damaged or not safetensors/],
  ["a zip archive (PyTorch)", Buffer.from("504b030400000808000000000000000000000000", "hex"), /safetensors/],
  ["GGUF", Buffer.from("4747554603000000230100000000000018000000", "hex"), /safetensors/],
];

const LENGTHS: readonly [name: string, length: bigint][] = [
  ["0", 0n],
  ["1", 1n],
  ["one too few", BigInt(HEADER_BYTES - 1)],
  ["one too many", BigInt(HEADER_BYTES + 1)],
  ["eight too few", BigInt(HEADER_BYTES - 8)],
  ["eight too many", BigInt(HEADER_BYTES + 8)],
  ["all of the file", BigInt(FILE_BYTES - 8)],
  ["one more than the file", BigInt(FILE_BYTES - 7)],
  ["the limit of the format", 100_000_000n],
  ["beyond the limit of the format", 100_000_001n],
  ["beyond what a number can hold", 2n ** 53n + 1n],
  ["the largest of 63 bits", 2n ** 63n - 1n],
  ["the largest of 64 bits", 2n ** 64n - 1n],
];

const HEADERS: readonly [name: string, edit: (text: string) => string | Buffer][] = [
  ["empty", () => ""],
  ["spaces", () => "        "],
  ["null", () => "null"],
  ["a list", (text) => `[${text}]`],
  ["a string", () => '"header"'],
  ["a number", () => "12345678"],
  ["cut in the middle", (text) => text.slice(0, text.length / 2)],
  ["without its last brace", (text) => text.trimEnd().slice(0, -1)],
  ["with a trailing comma", (text) => text.replace(/\}\s*$/, ",}")],
  ["with a comment", (text) => text.replace("{", "{/* */")],
  ["with single quotes", (text) => text.replaceAll('"', "'")],
  ["with NaN", (text) => text.replace("[0,", "[NaN,")],
  ["with a control character", (text) => text.replace("lm_head", "lm\u0001head")],
  ["with text after it", (text) => `${text.trimEnd()}x`],
  ["with a second object after it", (text) => `${text.trimEnd()}{}`],
  ["not UTF-8", (text) => Buffer.concat([Buffer.from(text.trimEnd()), Buffer.from([0xff, 0xfe])])],
  ["UTF-16", (text) => Buffer.from(text, "utf16le")],
  ["with a byte order mark", (text) => `\ufeff${text}`],
  [
    "with a tensor twice",
    (text) => text.replace("{", `{"lm_head.weight":${JSON.stringify(entryOf("lm_head.weight"))},`),
  ],
  ["with a tensor twice, once escaped", (text) => text.replace("{", `{"lm\\u005fhead.weight":{},`)],
  ["with a newline in the broken place", (text) => text.replace("{", '{\n"a": \n\u001b[31m')],
  ["nested 200,000 deep", (text) => text.replace("{", `{"deep":${"[".repeat(200_000)}${"]".repeat(200_000)},`)],
  ["with 200,000 tensors that are numbers", (text) => text.replace("{", `{${numbers(200_000)}`)],
];

/** Values of one key of a tensor's entry. */
const ENTRIES: readonly [key: keyof RawEntry, values: readonly unknown[], says: RegExp][] = [
  ["dtype", [undefined, null, 16, "", "bf16", "BF17", "F4", "constructor", "__proto__", ["BF16"]], /dtype|needs/],
  [
    "shape",
    [undefined, null, 768, "16,48", ["16", "48"], [-16, -48], [16.5, 48], [[16, 48]], [16, null], [], [16], [16, 47]],
    /shape|needs/,
  ],
  [
    "shape",
    [[2 ** 53, 48], [1e300, 48], [2 ** 32, 2 ** 32], [0, 48], [16, 48, 2], Array(300).fill(2 ** 50)],
    /shape|needs/,
  ],
  ["data_offsets", [undefined, null, "0,1536", 0, [], [0], [0, 1536, 3072], ["0", "1536"], [-1536, 0]], /data_offsets/],
  [
    "data_offsets",
    [
      [0.5, 1536.5],
      [1536, 0],
      [null, null],
      [0, 0],
      [0, 1536],
      [0, 1e15],
      [2 ** 63, 2 ** 64],
    ],
    /data_offsets|overlaps|truncated/,
  ],
];

const METADATA: readonly unknown[] = [
  null,
  1,
  "pt",
  ["pt"],
  { format: 1 },
  { format: { name: "pt" } },
  { format: null },
];

/** Gaps and overlaps of the data, by what becomes of the offsets of the last tensor of the file. */
const LAYOUTS: readonly [name: string, edit: (bytes: Buffer) => Buffer, says: RegExp][] = [
  [
    "bytes after the last tensor",
    (bytes) => Buffer.concat([bytes, Buffer.alloc(16)]),
    /16 bytes after .* belong to no tensor/,
  ],
  [
    "a gap before the first tensor",
    (bytes) => shiftData(bytes, 0),
    /bytes between the header and .* belong to no tensor/,
  ],
  ["a gap between tensors", (bytes) => shiftData(bytes, 24576), /bytes between .* belong to no tensor/],
  [
    "a tensor that lies in another",
    (bytes) =>
      editHeader(bytes, (header) =>
        Object.assign(header, { extra: { dtype: "U8", shape: [4], data_offsets: [8, 12] } }),
      ),
    /overlaps/,
  ],
  [
    "two tensors of the same bytes",
    (bytes) => editHeader(bytes, (header) => Object.assign(header, { extra: entryOf("lm_head.weight") })),
    /overlaps/,
  ],
];

export const BROKEN_SAFETENSORS: readonly BrokenInput[] = [
  ...FILES.map(([name, content, says]) => ({
    name: `model.safetensors is ${name}`,
    exitCode,
    says,
    damage: put(SINGLE_FILE, content),
  })),
  ...LENGTHS.map(([name, length]) => ({
    name: `the header's length is ${name}`,
    exitCode,
    says: /header|not valid JSON|bytes/,
    damage: editBytes((bytes) => {
      const copy = Buffer.from(bytes);
      copy.writeBigUInt64LE(length);
      return copy;
    }),
  })),
  ...HEADERS.map(([name, edit]) => ({
    name: `the header is ${name}`,
    exitCode,
    damage: editBytes((bytes) => {
      const { text, data } = splitFile(bytes);
      return joinFile(edit(text), data);
    }),
  })),
  ...ENTRIES.flatMap(([key, values, says]) =>
    values.map((value) => ({
      name: `a tensor's ${key} is ${shown(value).slice(0, 60)}`,
      exitCode,
      says: new RegExp(`tensor "${KEY_WEIGHT.replaceAll(".", "\\.")}".*|${says.source}`),
      damage: editBytes((bytes) =>
        editHeader(bytes, (header) => Object.assign(header[KEY_WEIGHT] ?? {}, { [key]: value })),
      ),
    })),
  ),
  ...[null, 5, "x", [], [1, 2]].map((value) => ({
    name: `a tensor's entry is ${shown(value)}`,
    exitCode,
    says: /entry is not an object/,
    damage: editBytes((bytes) => editHeader(bytes, (header) => Object.assign(header, { [KEY_WEIGHT]: value }))),
  })),
  ...METADATA.map((value) => ({
    name: `__metadata__ is ${shown(value)}`,
    exitCode,
    says: /__metadata__/,
    damage: editBytes((bytes) => editHeader(bytes, (header) => Object.assign(header, { __metadata__: value }))),
  })),
  ...LAYOUTS.map(([name, edit, says]) => ({ name, exitCode, says, damage: editBytes(edit) })),
  ...truncations(32),
  ...byteFlips(80),
];

/** The file cut off after some byte: in the length, in the header, in the data. Data must fill the file, so each breaks it. */
function truncations(count: number): BrokenInput[] {
  const random = seededRandom(1);
  return Array.from({ length: count }, (_, index) => {
    const limit = [8, HEADER_BYTES, FILE_BYTES][index % 3] ?? FILE_BYTES;
    const bytes = index === count - 1 ? FILE_BYTES - 1 : Math.floor(random() * limit);
    return {
      name: `model.safetensors is cut off after ${bytes} bytes`,
      exitCode,
      says: /truncated|the file has \d bytes|not valid JSON|belong to no tensor/,
      damage: editBytes((whole) => whole.subarray(0, bytes)),
    };
  });
}

/** One byte of the length or the header becomes another. */
function byteFlips(count: number): BrokenInput[] {
  const random = seededRandom(2);
  return Array.from({ length: count }, () => {
    const position = Math.floor(random() * (8 + HEADER_BYTES));
    const mask = 1 + Math.floor(random() * 255);
    const flip = (bytes: Buffer) => {
      const copy = Buffer.from(bytes);
      copy[position] = (copy[position] ?? 0) ^ mask;
      return copy;
    };
    const isSound = staysSound(flip(ORIGINAL));
    return {
      name: `byte ${position} of the header is flipped by 0x${mask.toString(16)}${isSound ? ", which does no harm" : ""}`,
      exitCode: isSound ? 0 : exitCode,
      damage: editBytes(flip),
    };
  });
}

/**
 * Whether a flipped header still says what the model needs: it parses, every tensor of the model lies where it did
 * under its own name, and the two that calibration does not use are unharmed under any name outside the layers.
 */
function staysSound(bytes: Buffer): boolean {
  if (bytes.readBigUInt64LE() !== BigInt(HEADER_BYTES)) return false;
  const before = splitFile(ORIGINAL).header;
  let after: Record<string, unknown>;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + HEADER_BYTES));
    after = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return false;
  }
  const { __metadata__: metadata, ...tensors } = after;
  if (typeof metadata !== "object" || metadata === null) return false;
  if (Object.keys(tensors).length !== Object.keys(before).length - 1) return false;
  const unused = ["lm_head.weight", "model.norm.weight"];
  return Object.entries(before).every(([name, entry]) => {
    if (name === "__metadata__") return true;
    if (!unused.includes(name)) return isDeepStrictEqual(tensors[name], entry);
    return Object.values(tensors).some((other) => isDeepStrictEqual(other, entry));
  });
}

function editHeader(bytes: Buffer, edit: (header: Record<string, RawEntry>) => void): Buffer {
  const { header, data } = splitFile(bytes);
  edit(header);
  return joinFile(JSON.stringify(header), data);
}

/** Opens a gap in the data: every tensor from `from` on begins 16 bytes later. */
function shiftData(bytes: Buffer, from: number): Buffer {
  const { header, data } = splitFile(bytes);
  for (const entry of Object.values(header)) {
    if (entry.data_offsets !== undefined && entry.data_offsets[0] >= from) {
      entry.data_offsets = [entry.data_offsets[0] + 16, entry.data_offsets[1] + 16];
    }
  }
  return joinFile(
    JSON.stringify(header),
    Buffer.concat([data.subarray(0, from), Buffer.alloc(16), data.subarray(from)]),
  );
}

function entryOf(name: string): RawEntry | undefined {
  return splitFile(ORIGINAL).header[name];
}

function numbers(count: number): string {
  return Array.from({ length: count }, (_, index) => `"t${index}":0,`).join("");
}
