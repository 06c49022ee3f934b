import { link, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { layOutCheckpoint } from "../../src/checkpoint/output-layout.js";
import { CheckpointError } from "../../src/errors.js";
import {
  rawSafetensors,
  safetensorsOf,
  scale,
  temporaryFolder,
  weight,
  writeFiles,
} from "../helpers/safetensors-files.js";

const folder = temporaryFolder();

const CONFIG = '{\n  "model_type": "llama"\n}\n';
const FIRST = "model-00001-of-00002.safetensors";
const SECOND = "model-00002-of-00002.safetensors";
const SINGLE = { "config.json": CONFIG, "model.safetensors": safetensorsOf([weight("a", 1), weight("b", 2)]) };
const index = (weight_map: unknown, more: object = {}) =>
  JSON.stringify({ metadata: { total_size: 16 }, weight_map, ...more });
const SHARDED = {
  "config.json": CONFIG,
  "model.safetensors.index.json": index({ a: FIRST, b: SECOND }),
  [FIRST]: safetensorsOf([weight("a", 1)]),
  [SECOND]: safetensorsOf([weight("b", 2)]),
};

async function expectRefusal(path: string, ...parts: string[]): Promise<void> {
  const error: unknown = await openCheckpoint(path).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CheckpointError);
  for (const part of parts) expect((error as CheckpointError).message).toContain(part);
}

describe("what is read", () => {
  test("one file: its tensors, where they lie, and no index", async () => {
    await writeFiles(folder(), SINGLE);
    const checkpoint = await openCheckpoint(folder());
    expect(checkpoint.index).toBeUndefined();
    expect(checkpoint.configText).toBe(CONFIG);
    expect(checkpoint.config).toEqual({ model_type: "llama" });
    const file = join(folder(), "model.safetensors");
    const dataStart = SINGLE["model.safetensors"].length - 16;
    expect(Object.fromEntries(checkpoint.tensors)).toMatchObject({
      a: { file, shard: "model.safetensors", offset: dataStart, byteLength: 8, dtype: "BF16", shape: [2, 2] },
      b: { file, shard: "model.safetensors", offset: dataStart + 8, byteLength: 8 },
    });
  });

  test("shards: the index says which files belong, and is kept", async () => {
    const stray = { "training_state.safetensors": "not even safetensors" };
    await writeFiles(folder(), { ...SHARDED, ...stray });
    const checkpoint = await openCheckpoint(folder());
    expect(checkpoint.shards.map(({ name }) => name)).toEqual([FIRST, SECOND]);
    expect(checkpoint.index).toEqual({ weightMap: { a: FIRST, b: SECOND }, metadata: { total_size: 16 } });
    expect(checkpoint.tensors.get("b")?.shard).toBe(SECOND);
  });

  test.each<[rule: string, index: object, more: Record<string, Uint8Array>, warnings: unknown[]]>([
    ["an index that names it alone", { a: "model.safetensors", b: "model.safetensors" }, {}, []],
    [
      "an index whose weights are not there, with a warning",
      { a: FIRST, b: SECOND },
      {},
      [expect.stringMatching(/names files that are not there \(model-00001-of-00002.*, model-00002-of-00002.*\)/)],
    ],
    [
      "an index that names a file of scales, too",
      { a: "model.safetensors", "x.k_scale": "scales.safetensors" },
      { "scales.safetensors": safetensorsOf([scale("x.k_scale", 1)]) },
      [],
    ],
  ])("one file is read beside %s", async (_rule, weightMap, more, warnings) => {
    await writeFiles(folder(), { ...SINGLE, ...more, "model.safetensors.index.json": index(weightMap) });
    const checkpoint = await openCheckpoint(folder());
    expect(checkpoint.shards.map(({ name }) => name)).toEqual(["model.safetensors"]);
    expect(checkpoint.warnings).toEqual(warnings);
  });

  test("one file is read beside an index that a killed run made for a link to it", async () => {
    await writeFiles(folder(), { ...SINGLE, "model.safetensors.index.json": index({ a: FIRST, b: FIRST }) });
    await link(join(folder(), "model.safetensors"), join(folder(), FIRST));
    expect(await openCheckpoint(folder())).toMatchObject({ index: undefined, warnings: [] });
  });

  describe("a tensor that two shards store with the same bytes", () => {
    const long = (fill: number, last = fill) => {
      const data = new Uint8Array(2 * 3_000_000).fill(fill);
      data[data.length - 1] = last;
      return { name: "a", dtype: "BF16", shape: [1000, 3000], data };
    };

    test.each([FIRST, SECOND])("is read from %s when the index says so, with a warning of TGI", async (named) => {
      await writeFiles(folder(), {
        ...SHARDED,
        "model.safetensors.index.json": index({ a: named, b: SECOND, c: FIRST }),
        [FIRST]: safetensorsOf([long(1), weight("c", 3)]),
        [SECOND]: safetensorsOf([weight("b", 2), long(1)]),
      });
      const { tensors, warnings } = await openCheckpoint(folder());
      expect(tensors.get("a")?.shard).toBe(named);
      expect(warnings).toEqual([expect.stringMatching(/^Tensor "a" is in .* and in .*TGI refuses/)]);
    });

    test("is named once by the index of the result, which counts its bytes once", async () => {
      await writeFiles(folder(), {
        ...SHARDED,
        [SECOND]: safetensorsOf([weight("a", 1), weight("b", 2)]),
      });
      const { indexText } = layOutCheckpoint(await openCheckpoint(folder()), []);
      expect(JSON.parse(indexText)).toEqual({ metadata: { total_size: 16 }, weight_map: { a: FIRST, b: SECOND } });
    });

    test("is refused when the last byte differs", async () => {
      await writeFiles(folder(), {
        ...SHARDED,
        [FIRST]: safetensorsOf([long(1)]),
        [SECOND]: safetensorsOf([weight("b", 2), long(1, 2)]),
      });
      await expectRefusal(folder(), SECOND, '"a" is also in', FIRST, "differ in their bytes");
    });
  });

  test("config.json without its byte order mark, with a warning", async () => {
    await writeFiles(folder(), { ...SINGLE, "config.json": `\uFEFF${CONFIG}` });
    const { configText, warnings } = await openCheckpoint(folder());
    expect(configText).toBe(CONFIG);
    expect(warnings).toEqual([expect.stringContaining("config.json begins with a byte order mark")]);
  });

  test("an index without metadata has none", async () => {
    await writeFiles(folder(), {
      ...SHARDED,
      "model.safetensors.index.json": index({ a: FIRST, b: SECOND }, { metadata: null }),
    });
    expect((await openCheckpoint(folder())).index?.metadata).toEqual({});
  });

  test("the hub's cache: links into blobs are resolved, names stay", async () => {
    const snapshot = join(folder(), "snapshots", "c0ffee");
    const blobs = join(folder(), "blobs");
    await mkdir(snapshot, { recursive: true });
    for (const [position, [name, content]] of Object.entries(SHARDED).entries()) {
      await writeFiles(blobs, { [`blob${position}`]: content });
      await symlink(`../../blobs/blob${position}`, join(snapshot, name));
    }
    const { shards, tensors } = await openCheckpoint(snapshot);
    expect(shards.map(({ name, path }) => [name, path])).toEqual([
      [FIRST, join(blobs, "blob2")],
      [SECOND, join(blobs, "blob3")],
    ]);
    expect(tensors.get("a")).toMatchObject({ file: join(blobs, "blob2"), shard: FIRST });
  });

  test("an index may still name scales that a killed run has replaced in their file", async () => {
    await writeFiles(folder(), {
      ...SHARDED,
      "model.safetensors.index.json": index({ a: FIRST, "x.kv_scale": SECOND }),
      [SECOND]: safetensorsOf([scale("x.k_scale", 1), scale("x.v_scale", 1)]),
    });
    expect([...(await openCheckpoint(folder())).tensors.keys()]).toEqual(["a", "x.k_scale", "x.v_scale"]);
  });
});

describe("a folder is refused", () => {
  const INDEX = "model.safetensors.index.json";
  const without = (files: Record<string, string | Uint8Array>, name: string) => {
    return Object.fromEntries(Object.entries(files).filter(([key]) => key !== name));
  };

  test.each<[rule: string, files: Record<string, string | Uint8Array>, ...message: string[]]>([
    ["without config.json", without(SINGLE, "config.json"), "config.json", "not found"],
    ["when config.json is no JSON", { ...SINGLE, "config.json": "{," }, "config.json", "not valid JSON"],
    ["when config.json is empty", { ...SINGLE, "config.json": "" }, "config.json", "not valid JSON"],
    ["when config.json is a list", { ...SINGLE, "config.json": "[]" }, "config.json", "expected a JSON object"],
    ["when config.json is null", { ...SINGLE, "config.json": "null" }, "config.json", "expected a JSON object"],
    ["when config.json is a string", { ...SINGLE, "config.json": '"x"' }, "config.json", "expected a JSON object"],
    [
      "when config.json is not UTF-8",
      { ...SINGLE, "config.json": Buffer.from([0x22, 0xff]) },
      "config.json",
      "cannot be read",
    ],
    [
      "when config.json is a folder",
      { ...without(SINGLE, "config.json"), "config.json/x": "" },
      "config.json",
      "cannot be read",
    ],
    ["with nothing else", { "config.json": CONFIG }, "neither model.safetensors nor model.safetensors.index.json"],
    ["with pickled weights alone", { "config.json": CONFIG, "pytorch_model.bin": "" }, "pytorch_model.bin", "Convert"],
    ["with shards but no index", without(SHARDED, INDEX), "2 .safetensors files", FIRST, "Download the index"],
    ["when its one file is damaged", { ...SINGLE, "model.safetensors": "{}" }, "model.safetensors", "2 bytes"],
    [
      "when its one file is a folder",
      { "config.json": CONFIG, "model.safetensors/x": "" },
      "model.safetensors",
      "a folder",
    ],
    ["when the index is no JSON", { ...SHARDED, [INDEX]: "weight_map" }, INDEX, "not valid JSON"],
    ["when the index is a list", { ...SHARDED, [INDEX]: "[]" }, INDEX, "expected a JSON object"],
    ["when the index has no weight_map", { ...SHARDED, [INDEX]: "{}" }, INDEX, '"weight_map"'],
    ["when weight_map is a list", { ...SHARDED, [INDEX]: index([FIRST]) }, INDEX, '"weight_map"'],
    ["when weight_map is null", { ...SHARDED, [INDEX]: index(null) }, INDEX, '"weight_map"'],
    ["when weight_map is empty", { ...SHARDED, [INDEX]: index({}) }, INDEX, "is empty"],
    ["when a shard is absent", without(SHARDED, SECOND), INDEX, '"b"', SECOND, "Download the missing shard"],
    ["when a shard is damaged", { ...SHARDED, [SECOND]: "x" }, SECOND, "1 bytes"],
    [
      "when a shard has a bad tensor",
      { ...SHARDED, [SECOND]: rawSafetensors('{"b":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}') },
      SECOND,
      '"b"',
      "truncated",
    ],
    [
      "when two shards have a tensor with other bytes",
      { ...SHARDED, [SECOND]: safetensorsOf([weight("a", 3), weight("b", 2)]) },
      SECOND,
      '"a" is also in',
      FIRST,
      "differ in their bytes",
    ],
    [
      "when two shards have a tensor with other shapes",
      { ...SHARDED, [SECOND]: safetensorsOf([weight("a", 1, [4]), weight("b", 2)]) },
      SECOND,
      '"a" is also in',
      FIRST,
      "differ in shape ([2, 2], [4])",
    ],
    [
      "when two shards have a tensor with other dtypes",
      { ...SHARDED, [SECOND]: safetensorsOf([{ ...weight("a", 1), dtype: "F16" }, weight("b", 2)]) },
      SECOND,
      '"a" is also in',
      FIRST,
      "differ in dtype (BF16, F16)",
    ],
    [
      "with one file beside an index of other weights",
      { ...SHARDED, ...SINGLE },
      "has model.safetensors, which transformers loads",
      FIRST,
      "Keep one of the two",
    ],
    [
      "with one file beside an index of other weights, though some are not there",
      without({ ...SHARDED, ...SINGLE }, SECOND),
      FIRST,
      "Keep one of the two",
    ],
    ["when the index beside one file is no JSON", { ...SINGLE, [INDEX]: "weight_map" }, INDEX, "not valid JSON"],
    [
      "when the index names the wrong shard",
      { ...SHARDED, [INDEX]: index({ a: SECOND, b: FIRST }) },
      INDEX,
      '"a"',
      `but is in ${FIRST}`,
    ],
    [
      "when the index names a tensor that is nowhere",
      { ...SHARDED, [INDEX]: index({ a: FIRST, b: SECOND, c: SECOND }) },
      INDEX,
      '"c"',
      "is in no shard",
    ],
    [
      "when the index names a scale that its shard of weights does not have",
      { ...SHARDED, [INDEX]: index({ a: FIRST, b: SECOND, "x.k_scale": SECOND }) },
      INDEX,
      '"x.k_scale"',
      "is in no shard",
    ],
    [
      "when the index names a weight that a shard of scales does not have",
      { ...SHARDED, [INDEX]: index({ a: FIRST, b: SECOND }), [SECOND]: safetensorsOf([scale("x.k_scale", 1)]) },
      INDEX,
      '"b"',
      "is in no shard",
    ],
  ])("%s", async (_rule, files, ...message) => {
    await writeFiles(folder(), files);
    await expectRefusal(folder(), folder(), ...message);
  });

  test.each([
    "../model.safetensors",
    "../../etc/x.safetensors",
    "/etc/x.safetensors",
    "sub/model.safetensors",
    "./model.safetensors",
    "model.safetensors/",
    "..",
    "",
    "pytorch_model.bin",
    "config.json",
    1,
    null,
    ["model.safetensors"],
  ])("when the index names the file %j", async (file) => {
    await writeFiles(folder(), { ...SHARDED, "sub/model.safetensors": SINGLE["model.safetensors"] });
    await writeFile(join(folder(), INDEX), index({ a: FIRST, b: file }));
    await expectRefusal(folder(), INDEX, '"b"', "expected the name of a .safetensors file beside the index");
  });

  test("when a link leads nowhere", async () => {
    await writeFiles(folder(), { "config.json": CONFIG });
    await symlink("../blobs/gone", join(folder(), "model.safetensors"));
    await expectRefusal(folder(), "model.safetensors", "cannot be opened");
  });

  test("when it is not there", async () => {
    await expectRefusal(join(folder(), "absent"), "absent", "no such folder", "org/name");
  });

  test("when it is a file", async () => {
    await writeFiles(folder(), SINGLE);
    await expectRefusal(join(folder(), "model.safetensors"), "found a file", "Give the folder");
  });
});
