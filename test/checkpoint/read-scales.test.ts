// Values of 16 bits are those that PyTorch 2.13 gives for the same bits.

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { readScales, scalesAsRead } from "../../src/checkpoint/read-scales.js";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import { CheckpointError } from "../../src/errors.js";
import {
  safetensorsOf,
  scale,
  type TensorSpec,
  temporaryFolder,
  weight,
  writeFiles,
} from "../helpers/safetensors-files.js";

const folder = temporaryFolder();

async function readFile(tensors: readonly TensorSpec[]) {
  await writeFiles(folder(), { "x.safetensors": safetensorsOf(tensors) });
  const path = join(folder(), "x.safetensors");
  return readScales([{ name: "x.safetensors", path, header: await readSafetensorsHeader(path) }]);
}

function bits16(dtype: string, bits: number): TensorSpec {
  return { name: "a.k_scale", dtype, shape: [1], data: new Uint8Array(Uint16Array.of(bits).buffer) };
}

describe("a scale's value is read from", () => {
  test.each([
    ["F16", 0x0001, 2 ** -24],
    ["F16", 0x03ff, 1023 * 2 ** -24],
    ["F16", 0x0400, 2 ** -14],
    ["F16", 0x2e66, 0.0999755859375],
    ["F16", 0x3555, 0.333251953125],
    ["F16", 0x3c00, 1],
    ["F16", 0x7bff, 65504],
    ["F16", 0x8001, -(2 ** -24)],
    ["F16", 0xc000, -2],
    ["F16", 0x7c00, Number.POSITIVE_INFINITY],
    ["F16", 0xfc00, Number.NEGATIVE_INFINITY],
    ["F16", 0x7e00, Number.NaN],
    ["BF16", 0x0001, 2 ** -133],
    ["BF16", 0x0080, 2 ** -126],
    ["BF16", 0x3dcd, 0.10009765625],
    ["BF16", 0x3eab, 0.333984375],
    ["BF16", 0x3f80, 1],
    ["BF16", 0x7f7f, 255 * 2 ** 120],
    ["BF16", 0x8080, -(2 ** -126)],
    ["BF16", 0xff80, Number.NEGATIVE_INFINITY],
    ["BF16", 0x7fc0, Number.NaN],
  ])("%s bits %i: %d", async (dtype, bits, value) => {
    expect(await readFile([bits16(dtype, bits)])).toMatchObject([{ dtype, shape: [1], values: [value] }]);
  });

  test("F32 and F64, little-endian, wherever in the file", async () => {
    const double = { name: "b.v_scale", dtype: "F64", shape: [], data: new Uint8Array(Float64Array.of(0.1).buffer) };
    const read = await readFile([weight("w", 7), scale("a.kv_scale", 0.5), double]);
    expect(read.map(({ name, values }) => [name, values])).toEqual([
      ["a.kv_scale", [0.5]],
      ["b.v_scale", [0.1]],
    ]);
  });

  test("no other dtype", async () => {
    const integer = { name: "a.k_scale", dtype: "I32", shape: [1], data: new Uint8Array(4) };
    expect(await readFile([integer])).toMatchObject([{ dtype: "I32", values: undefined }]);
  });

  test("up to 1,024 elements, so that a weight with a scale's name is not read", async () => {
    const tensor = (elements: number): TensorSpec => {
      return { name: "a.k_scale", dtype: "F32", shape: [elements], data: new Uint8Array(4 * elements) };
    };
    expect((await readFile([tensor(1024)]))[0]?.values).toHaveLength(1024);
    expect((await readFile([tensor(1025)]))[0]?.values).toBeUndefined();
  });
});

describe("scales as engines read them", () => {
  const NAMES = ["a", "b"];
  const PLACES = NAMES.map((name, layer) => ({ layer, name }));

  async function asRead(...tensors: readonly TensorSpec[]) {
    await writeFiles(folder(), {
      "config.json": "{}",
      "model.safetensors": safetensorsOf([weight("w", 1), ...tensors]),
    });
    return scalesAsRead(await openCheckpoint(folder()), PLACES);
  }

  test("none", async () => {
    expect(await asRead()).toBeUndefined();
  });

  test("k_scale and v_scale, by layer, whatever their order in the file", async () => {
    const read = await asRead(
      scale("b.k_scale", 3),
      scale("a.v_scale", 2),
      scale("b.v_scale", 4),
      scale("a.k_scale", 1),
    );
    expect(read).toEqual({
      source: "k_scale, v_scale",
      layers: [
        { layer: 0, kScale: 1, vScale: 2 },
        { layer: 1, kScale: 3, vScale: 4 },
      ],
    });
  });

  test("k_scale and v_scale before kv_scale", async () => {
    const shared = NAMES.map((name) => scale(`${name}.kv_scale`, 9));
    const apart = NAMES.flatMap((name) => [scale(`${name}.k_scale`, 1), scale(`${name}.v_scale`, 2)]);
    expect((await asRead(...shared, ...apart))?.layers).toEqual(
      PLACES.map(({ layer }) => ({ layer, kScale: 1, vScale: 2 })),
    );
  });

  test("kv_scale for both where a layer lacks one of the two", async () => {
    const shared = NAMES.map((name) => scale(`${name}.kv_scale`, 9));
    expect(await asRead(...shared, scale("a.k_scale", 1))).toEqual({
      source: "kv_scale",
      layers: PLACES.map(({ layer }) => ({ layer, kScale: 9, vScale: 9 })),
    });
  });

  test.each<[string, TensorSpec[]]>([
    ['"b" has neither', [scale("a.kv_scale", 1)]],
    ['"b" has neither', [scale("a.k_scale", 1), scale("a.v_scale", 1), scale("b.k_scale", 1)]],
    ["found NaN", [scale("a.kv_scale", 1), scale("b.kv_scale", Number.NaN)]],
    ["found Infinity", [scale("a.kv_scale", 1), scale("b.kv_scale", Number.POSITIVE_INFINITY)]],
    ["found 0", [scale("a.kv_scale", 1), scale("b.kv_scale", 0)]],
    ["found -1", [scale("a.kv_scale", 1), scale("b.kv_scale", -1)]],
    [
      "found F32 of shape [2]",
      [scale("a.kv_scale", 1), { name: "b.kv_scale", dtype: "F32", shape: [2], data: new Uint8Array(8).fill(63) }],
    ],
  ])("never anything else: %s", async (message, tensors) => {
    const error = await asRead(...tensors).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toContain(message);
  });
});
