import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readSafetensorsHeader, type SafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import { CheckpointError } from "../../src/errors.js";
import { rawSafetensors, safetensorsOf, type TensorSpec, temporaryFolder } from "../helpers/safetensors-files.js";

const folder = temporaryFolder();

async function readBytes(bytes: Uint8Array): Promise<SafetensorsHeader> {
  const path = join(folder(), "model.safetensors");
  await writeFile(path, bytes);
  return readSafetensorsHeader(path);
}

/** A header followed by `dataBytes` zeros. */
const file = (header: string | Uint8Array, dataBytes = 0) => rawSafetensors(header, new Uint8Array(dataBytes));
const entry = (fields: string) => file(`{"w":{${fields}}}`, 4);

async function expectRefusal(bytes: Uint8Array, ...parts: string[]): Promise<void> {
  const error: unknown = await readBytes(bytes).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CheckpointError);
  const { message } = error as CheckpointError;
  for (const part of ["model.safetensors", ...parts]) expect(message).toContain(part);
}

describe("the frame", () => {
  test.each<[rule: string, bytes: Uint8Array, ...message: string[]]>([
    ["an empty file", Buffer.from([]), "0 bytes"],
    ["a file shorter than the 8 bytes of the header's length", Buffer.from([2, 0, 0, 0, 0, 0, 0]), "7 bytes"],
    ["a header over the limit", Buffer.from([0x81, 0xf0, 0xfa, 0x02, 0, 0, 0, 0]), "50000001", "at most 50000000"],
    ["the longest header that 8 bytes can say", Buffer.alloc(8, 0xff), "18446744073709551615"],
    ["a header longer than the file", Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]), "claims 3", "only 2 follow"],
    ["a header that is not UTF-8", file(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), "not valid UTF-8"],
    ["a header that begins with a byte order mark", file("\ufeff{}"), 'begin with "{"'],
    ["a header that begins with a space", file(" {}"), 'begin with "{"'],
    ["a header that is a list", file("[]"), 'begin with "{"'],
    ["an empty header", file(""), 'begin with "{"'],
    ["a header that is cut off", file('{"w":'), "not valid JSON"],
    ["a header with a comment", file("{}//"), "not valid JSON"],
    ["a header with a trailing comma", file('{"a":{},}'), "not valid JSON"],
    ["a header padded with zeros", file("{}\0\0"), "not valid JSON"],
    ["a header nested without end", file(`{"w":${"[".repeat(1e5)}${"]".repeat(1e5)}}`), "nests deeper than 128"],
    [
      "a Git LFS pointer",
      Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
      "Git LFS pointer",
      "git lfs pull",
    ],
  ])("%s is refused", async (_rule, bytes, ...message) => {
    await expectRefusal(bytes, ...message);
  });

  test("a file that is not there is refused", async () => {
    const reading = readSafetensorsHeader(join(folder(), "absent.safetensors"));
    await expect(reading).rejects.toThrow(CheckpointError);
    await expect(reading).rejects.toThrow("absent.safetensors");
  });

  test("a folder is refused", async () => {
    await mkdir(join(folder(), "model.safetensors"));
    const reading = readSafetensorsHeader(join(folder(), "model.safetensors"));
    await expect(reading).rejects.toThrow(CheckpointError);
    await expect(reading).rejects.toThrow("found a folder");
  });
});

describe("a tensor's entry", () => {
  const W = 'tensor "w"';
  const twice = '{"dtype":"U8","shape":[4],"data_offsets":[0,4]}';

  test.each<[rule: string, bytes: Uint8Array, ...message: string[]]>([
    ["a tensor that is there twice", file(`{"w":${twice},"w":${twice}}`, 4), W, "twice"],
    ["a tensor that is there twice, spelt differently", file(`{"w":${twice},"\\u0077":${twice}}`, 4), W, "twice"],
    ["an entry that is null", file('{"w":null}'), W, "not an object"],
    ["an entry that is a number", file('{"w":4}'), W, "not an object"],
    ["an entry that is a list", file('{"w":[]}'), W, "not an object"],
  ])("%s is refused", async (_rule, bytes, ...message) => {
    await expectRefusal(bytes, ...message);
  });

  test.each(['"F4"', '"F6_E2M3"', '"float32"', '"f32"', '""', "1", "null", '["F32"]', '"constructor"', '"__proto__"'])(
    "dtype %s is refused",
    async (dtype) => {
      await expectRefusal(entry(`"dtype":${dtype},"shape":[1],"data_offsets":[0,4]`), W, "unknown dtype");
    },
  );

  test("a missing dtype is refused", async () => {
    await expectRefusal(entry('"shape":[1],"data_offsets":[0,4]'), W, "unknown dtype");
  });

  test.each(["-1", "null", '"1"', "{}", "[-1]", "[0.5]", '["1"]', "[null]", "[[1]]", "[9007199254740992]", "[1e400]"])(
    "shape %s is refused",
    async (shape) => {
      await expectRefusal(entry(`"dtype":"F32","shape":${shape},"data_offsets":[0,4]`), W, "shape must be");
    },
  );

  test("a missing shape is refused", async () => {
    await expectRefusal(entry('"dtype":"F32","data_offsets":[0,4]'), W, "shape must be");
  });

  test.each([
    "null",
    "4",
    "[]",
    "[4]",
    "[0,2,4]",
    '["0","4"]',
    "[-4,0]",
    "[0,4.5]",
    "[0,9007199254740992]",
    "[0,null]",
  ])("data_offsets %s are refused", async (offsets) => {
    await expectRefusal(entry(`"dtype":"F32","shape":[1],"data_offsets":${offsets}`), W, "data_offsets must be");
  });

  test("missing data_offsets are refused", async () => {
    await expectRefusal(entry('"dtype":"F32","shape":[1]'), W, "data_offsets must be");
  });

  test.each<[rule: string, fields: string, ...message: string[]]>([
    ["data that ends before it begins", '"dtype":"F32","shape":[1],"data_offsets":[4,0]', "end (0)", "begin (4)"],
    ["data that ends after the file", '"dtype":"F32","shape":[2],"data_offsets":[0,8]', "truncated"],
    ["data that is all after the file", '"dtype":"F32","shape":[1],"data_offsets":[1000,1004]', "truncated"],
    ["more data than the shape needs", '"dtype":"F16","shape":[1],"data_offsets":[0,4]', "needs 2 bytes", "span 4"],
    ["less data than the shape needs", '"dtype":"F64","shape":[1],"data_offsets":[0,4]', "needs 8 bytes", "span 4"],
    ["a shape whose size overflows", '"dtype":"F32","shape":[4294967296,4294967297],"data_offsets":[0,4]', "span 4"],
  ])("%s is refused", async (_rule, fields, ...message) => {
    await expectRefusal(entry(fields), W, ...message);
  });
});

describe("the layout", () => {
  const tensor = (name: string, begin: number, end: number) =>
    `"${name}":{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]}`;

  test.each<[rule: string, bytes: Uint8Array, ...message: string[]]>([
    [
      "two tensors that overlap",
      file(`{${tensor("a", 0, 3)},${tensor("b", 2, 4)}}`, 4),
      'tensor "b" overlaps tensor "a"',
    ],
    ["two tensors in one place", file(`{${tensor("a", 0, 4)},${tensor("b", 0, 4)}}`, 4), "overlaps"],
    [
      "a tensor inside another",
      file(`{${tensor("a", 0, 4)},${tensor("b", 1, 3)}}`, 4),
      'tensor "b" overlaps tensor "a"',
    ],
    ["a gap between tensors", file(`{${tensor("a", 0, 1)},${tensor("b", 3, 4)}}`, 4), "2 bytes between", '"a"', '"b"'],
    ["a gap before the first tensor", file(`{${tensor("a", 1, 4)}}`, 4), "1 bytes between the header", '"a"'],
    ["bytes after the last tensor", file(`{${tensor("a", 0, 1)}}`, 4), '3 bytes after tensor "a"'],
    ["bytes without any tensor", file("{}", 4), "4 bytes after the header"],
  ])("%s is refused", async (_rule, bytes, ...message) => {
    await expectRefusal(bytes, ...message);
  });

  test("tensors may be listed in any order", async () => {
    const { tensors } = await readBytes(file(`{${tensor("a", 3, 4)},${tensor("b", 0, 3)}}`, 4));
    expect(tensors.map(({ name, byteLength }) => [name, byteLength])).toEqual([
      ["a", 1],
      ["b", 3],
    ]);
  });

  test("a tensor without elements takes no place", async () => {
    const bytes = file(`{${tensor("a", 0, 4)},${tensor("last", 4, 4)},${tensor("first", 0, 0)}}`, 4);
    expect((await readBytes(bytes)).tensors.map(({ byteLength }) => byteLength)).toEqual([4, 0, 0]);
  });

  test("a tensor without elements inside another is refused", async () => {
    await expectRefusal(file(`{${tensor("a", 0, 4)},${tensor("b", 2, 2)}}`, 4), 'tensor "b" overlaps tensor "a"');
  });

  test("a file without tensors is sound", async () => {
    expect(await readBytes(file("{}"))).toEqual({ metadata: {}, tensors: [], fileBytes: 10 });
  });
});

describe("__metadata__", () => {
  test.each(["null", "[]", '["a"]', '"pt"', "1", '{"format":1}', '{"format":null}', '{"format":{"a":"b"}}'])(
    "%s is refused",
    async (metadata) => {
      await expectRefusal(file(`{"__metadata__":${metadata}}`), "__metadata__ must be an object of strings");
    },
  );

  test("an object of strings is read", async () => {
    expect((await readBytes(file('{"__metadata__":{"format":"pt","é":""}}'))).metadata).toEqual({
      format: "pt",
      é: "",
    });
  });
});

/** Bits per element stand in the name of each dtype but one. */
const bytesPerElement = (dtype: string) => Number(/\d+/.exec(dtype)?.[0] ?? 8) / 8;

const DTYPES =
  "BOOL U8 I8 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ U16 I16 F16 BF16 U32 I32 F32 U64 I64 F64 C64";

test.each(DTYPES.split(" "))("a tensor of %s is read", async (dtype) => {
  const data = new Uint8Array(6 * bytesPerElement(dtype));
  const { tensors } = await readBytes(safetensorsOf([{ name: "w", dtype, shape: [2, 3], data }]));
  expect(tensors).toMatchObject([{ name: "w", dtype, shape: [2, 3], byteLength: data.length }]);
});

const tensorSpecs = fc.uniqueArray(
  fc
    .record({
      name: fc.oneof(
        fc.string({ unit: "grapheme" }),
        fc.constantFrom("__proto__", "constructor", "0", "a.b.weight", ""),
      ),
      dtype: fc.constantFrom(...DTYPES.split(" ")),
      shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
      fill: fc.nat(255),
    })
    .map(({ fill, ...tensor }): TensorSpec => {
      const bytes = tensor.shape.reduce((product, size) => product * size, bytesPerElement(tensor.dtype));
      return { ...tensor, data: new Uint8Array(bytes).fill(fill) };
    }),
  { selector: ({ name }) => name, maxLength: 5 },
);

test("every sound file is read back exactly", async () => {
  const metadata = fc.dictionary(fc.string({ minLength: 1 }), fc.string({ unit: "grapheme" }));
  await fc.assert(
    fc.asyncProperty(tensorSpecs, metadata, fc.nat(9), async (specs, strings, padding) => {
      const bytes = safetensorsOf(specs, { metadata: strings, padding });
      const header = await readBytes(bytes);
      expect(header.fileBytes).toBe(bytes.length);
      expect({ ...header.metadata }).toEqual({ ...strings });
      const found = header.tensors.map(({ name, dtype, shape, offset, byteLength }) => {
        return { name, dtype, shape, data: new Uint8Array(bytes.subarray(offset, offset + byteLength)) };
      });
      const byName = (a: TensorSpec, b: TensorSpec) => (a.name < b.name ? -1 : 1);
      expect(found.sort(byName)).toEqual([...specs].sort(byName));
    }),
    { numRuns: 200 },
  );
});

/** What must hold of anything that was accepted: the tensors are the file's data, no byte more or less. */
function expectConsistent({ tensors, fileBytes }: SafetensorsHeader, bytes: Uint8Array): void {
  expect(fileBytes).toBe(bytes.length);
  const dataStart = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  let covered = dataStart;
  for (const { dtype, shape, offset, byteLength } of [...tensors].sort(
    (a, b) => a.offset - b.offset || a.byteLength - b.byteLength,
  )) {
    expect(offset).toBe(covered);
    expect(byteLength).toBe(shape.reduce((product, size) => product * size, bytesPerElement(dtype)));
    covered += byteLength;
  }
  expect(covered).toBe(fileBytes);
}

async function expectConsistentOrRefused(bytes: Uint8Array): Promise<"read" | "refused"> {
  const result = await readBytes(bytes).catch((error: unknown) => error);
  if (result instanceof Error) {
    expect(result).toBeInstanceOf(CheckpointError);
    return "refused";
  }
  expectConsistent(result as SafetensorsHeader, bytes);
  return "read";
}

describe("a damaged file is refused, or what is read of it fits the file", () => {
  const sound = safetensorsOf(
    [
      { name: "a", dtype: "F32", shape: [2, 1], data: new Uint8Array(8) },
      { name: "b", dtype: "I8", shape: [3], data: new Uint8Array(3) },
      { name: "c", dtype: "F16", shape: [], data: new Uint8Array(2) },
    ],
    { metadata: { format: "pt" } },
  );
  const headerEnd = sound.length - 13;

  test("after any change of one byte of the header", async () => {
    const outcomes = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.nat(headerEnd - 1), fc.integer({ min: 1, max: 255 }), async (position, change) => {
        const bytes = Buffer.from(sound);
        bytes.writeUInt8(bytes.readUInt8(position) ^ change, position);
        outcomes.add(await expectConsistentOrRefused(bytes));
      }),
      { numRuns: 500 },
    );
    expect([...outcomes].sort()).toEqual(["read", "refused"]);
  });

  test("after any change of one digit of the header", async () => {
    for (let position = 8; position < headerEnd; position++) {
      if (!/\d/.test(String.fromCharCode(sound.readUInt8(position)))) continue;
      for (const digit of "0123456789-.e") {
        const bytes = Buffer.from(sound);
        bytes.write(digit, position, "latin1");
        await expectConsistentOrRefused(bytes);
      }
    }
  });

  test("cut off anywhere, it is refused", async () => {
    for (let length = 0; length < sound.length; length++) {
      expect(await expectConsistentOrRefused(sound.subarray(0, length))).toBe("refused");
    }
  });

  test("with random bytes for a header", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), fc.json(), async (bytes, json) => {
        await expectConsistentOrRefused(rawSafetensors(bytes));
        await expectConsistentOrRefused(rawSafetensors(`{"w":${json}}`));
      }),
      { numRuns: 100 },
    );
  });
});
