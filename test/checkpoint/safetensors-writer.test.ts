import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseSafetensorsMetadata } from "@huggingface/hub";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import { encodeSafetensors, type Float32Tensor } from "../../src/checkpoint/safetensors-writer.js";
import { readTensors, temporaryFolder } from "../helpers/safetensors-files.js";

const folder = temporaryFolder();

const scalar = (name: string, value: number, shape: readonly number[] = []): Float32Tensor => {
  return { name, shape, values: Float32Array.of(value) };
};

test("the file of one scale is, byte for byte, what the format's README says", () => {
  const file = encodeSafetensors([scalar("a.k_scale", 0.5, [1])], { format: "pt" });
  const header = '{"__metadata__":{"format":"pt"},"a.k_scale":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   ';
  const length = [96, 0, 0, 0, 0, 0, 0, 0];
  const half = [0x00, 0x00, 0x00, 0x3f];
  expect([...file]).toEqual([...length, ...Buffer.from(header), ...half]);
});

/** The network of huggingface.js, with one file behind it. */
const serve = (file: Uint8Array): typeof fetch => {
  return async (_url, options) => {
    const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(new Headers(options?.headers).get("range") ?? "") ?? [];
    const headers = { etag: '"1"', "content-range": `bytes ${begin}-${end}/${file.length}` };
    return new Response(file.slice(Number(begin ?? 0), Number(end ?? file.length) + 1), { status: 206, headers });
  };
};

test("huggingface.js reads names, shapes and metadata", async () => {
  const metadata = { format: "pt", note: '448 é \\ "' };
  const file = encodeSafetensors([scalar("self_attn.k_scale", 1, [1]), scalar("self_attn.kv_scale", 2)], metadata);
  const found = await parseSafetensorsMetadata({ repo: "a/b", path: "x.safetensors", fetch: serve(file) });
  expect(found).toMatchObject({
    sharded: false,
    header: {
      __metadata__: metadata,
      "self_attn.k_scale": { dtype: "F32", shape: [1], data_offsets: [0, 4] },
      "self_attn.kv_scale": { dtype: "F32", shape: [], data_offsets: [4, 8] },
    },
  });
});

const tensorLists = fc.uniqueArray(
  fc.record({
    name: fc.string({ unit: "grapheme" }).map((prefix) => `${prefix}.k_scale`),
    kind: fc.constantFrom("scalar", "one", "list"),
    numbers: fc.array(fc.float({ noNaN: true }), { minLength: 1, maxLength: 4 }),
  }),
  { selector: ({ name }) => name, maxLength: 6 },
);

test("other readers, and ours, read every value, shape and string back", async () => {
  const strings = fc.dictionary(
    fc.constantFrom("format", "version", "model"),
    fc.string({ unit: "grapheme" }).filter((text) => !text.includes("}")),
  );
  await fc.assert(
    fc.asyncProperty(tensorLists, strings, async (specs, metadata) => {
      const tensors = specs.map(({ name, kind, numbers }): Float32Tensor => {
        const values = Float32Array.from(kind === "list" ? numbers : numbers.slice(0, 1));
        return { name, shape: kind === "scalar" ? [] : [values.length], values };
      });
      const file = encodeSafetensors(tensors, metadata);

      const read = readTensors(file);
      expect([...read.keys()]).toEqual(tensors.map(({ name }) => name));
      for (const { name, shape, values } of tensors) {
        const tensor = read.get(name);
        expect(tensor).toMatchObject({ dtype: "F32", shape });
        const view = Buffer.from(tensor?.bytes ?? []);
        expect(Array.from(values, (_, index) => view.readFloatLE(index * 4))).toEqual([...values]);
      }

      const path = join(folder(), "scales.safetensors");
      await writeFile(path, file);
      const header = await readSafetensorsHeader(path);
      expect({ ...header.metadata }).toEqual({ ...metadata });
      expect(header.tensors.map(({ name, shape }) => ({ name, shape }))).toEqual(
        tensors.map(({ name, shape }) => ({ name, shape })),
      );
    }),
    { numRuns: 100 },
  );
});

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  "the data begins at a multiple of 8 bytes, with a name of %i letters",
  (letters) => {
    const file = encodeSafetensors([scalar("n".repeat(letters), 1)], {});
    const headerBytes = Number(Buffer.from(file).readBigUInt64LE());
    expect(headerBytes % 8).toBe(0);
    expect(file.length).toBe(8 + headerBytes + 4);
  },
);

test("no tensors make a sound file", async () => {
  const path = join(folder(), "scales.safetensors");
  await writeFile(path, encodeSafetensors([], {}));
  expect((await readSafetensorsHeader(path)).tensors).toEqual([]);
});

test("the same input gives the same bytes", () => {
  const make = () => encodeSafetensors([scalar("a", 0.1), scalar("b", 3)], { format: "pt", version: "1" });
  expect(make()).toEqual(make());
});
