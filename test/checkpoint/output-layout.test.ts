import { describe, expect, test } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { layOutCheckpoint, refuseExistingScales, scaleShards } from "../../src/checkpoint/output-layout.js";
import { OutputExistsError, UnsupportedModelError } from "../../src/errors.js";
import {
  safetensorsOf,
  scale,
  type TensorSpec,
  temporaryFolder,
  weight,
  writeFiles,
} from "../helpers/safetensors-files.js";

const folder = temporaryFolder();

/** A checkpoint with the given shards; one called model.safetensors needs no index. */
async function open(shards: Readonly<Record<string, readonly TensorSpec[]>>, metadata?: object): Promise<Checkpoint> {
  const files = Object.entries(shards).map(([name, tensors]) => [name, safetensorsOf(tensors)] as const);
  const weightMap = Object.entries(shards).flatMap(([file, tensors]) =>
    tensors.map(({ name }) => [name, file] as const),
  );
  const index = JSON.stringify({ metadata, weight_map: Object.fromEntries(weightMap) });
  const isSingle = "model.safetensors" in shards;
  await writeFiles(folder(), {
    "config.json": "{}",
    ...Object.fromEntries(files),
    ...(isSingle ? {} : { "model.safetensors.index.json": index }),
  });
  return openCheckpoint(folder());
}

const SCALES = [
  { name: "x.k_scale", shape: [1], values: Float32Array.of(1) },
  { name: "x.v_scale", shape: [1], values: Float32Array.of(2) },
];
const shards = { "m-1.safetensors": [weight("a", 1), weight("b", 2)], "m-2.safetensors": [weight("c", 3)] };

describe("a model in one file", () => {
  test("becomes the first of two shards; the second has the scales", async () => {
    const checkpoint = await open({ "model.safetensors": [weight("a", 1)] });
    const { weights, scalesFile, indexText } = layOutCheckpoint(checkpoint, SCALES);
    expect(weights.map(({ shard, name }) => [shard.name, name])).toEqual([
      ["model.safetensors", "model-00001-of-00002.safetensors"],
    ]);
    expect(scalesFile).toBe("model-00002-of-00002.safetensors");
    expect(indexText).toBe(`{
  "metadata": {
    "total_size": 16
  },
  "weight_map": {
    "a": "model-00001-of-00002.safetensors",
    "x.k_scale": "model-00002-of-00002.safetensors",
    "x.v_scale": "model-00002-of-00002.safetensors"
  }
}
`);
  });
});

describe("a model in shards", () => {
  test("keeps their names; the scales get a file of their own", async () => {
    const { weights, scalesFile, indexText } = layOutCheckpoint(await open(shards, { total_size: 1 }), SCALES);
    expect(weights.map(({ name }) => name)).toEqual(["m-1.safetensors", "m-2.safetensors"]);
    expect(scalesFile).toBe("model-kv-scales.safetensors");
    expect(JSON.parse(indexText)).toEqual({
      metadata: { total_size: 32 },
      weight_map: {
        a: "m-1.safetensors",
        b: "m-1.safetensors",
        c: "m-2.safetensors",
        "x.k_scale": "model-kv-scales.safetensors",
        "x.v_scale": "model-kv-scales.safetensors",
      },
    });
  });

  test("keeps what else the index says, and total_size counts the scales", async () => {
    const { indexText } = layOutCheckpoint(await open(shards, { total_parameters: 12, total_size: 24 }), SCALES);
    expect(JSON.parse(indexText).metadata).toEqual({ total_parameters: 12, total_size: 32 });
  });

  test("the index names every tensor once, tensors of any name", async () => {
    const odd = { "m-1.safetensors": [weight("__proto__", 1), weight("1", 2), weight("é", 3)] };
    const { indexText } = layOutCheckpoint(await open(odd), []);
    expect(Object.keys(JSON.parse(indexText).weight_map).sort()).toEqual(["1", "__proto__", "é"]);
  });
});

describe("scales of an earlier run", () => {
  const earlier = { ...shards, "old.safetensors": [scale("x.kv_scale", 9)] };

  test("are replaced in the file they are in, and leave the index", async () => {
    const checkpoint = await open(earlier);
    expect(scaleShards(checkpoint).map(({ name }) => name)).toEqual(["old.safetensors"]);
    const { weights, scalesFile, indexText } = layOutCheckpoint(checkpoint, SCALES);
    expect(weights.map(({ name }) => name)).toEqual(["m-1.safetensors", "m-2.safetensors"]);
    expect(scalesFile).toBe("old.safetensors");
    expect(JSON.parse(indexText).weight_map).not.toHaveProperty("x.kv_scale");
    expect(JSON.parse(indexText).weight_map).toHaveProperty(["x.k_scale"], "old.safetensors");
  });

  test("are refused where force was not asked for, naming their file", async () => {
    const checkpoint = await open(earlier);
    expect(() => refuseExistingScales(checkpoint)).toThrow(OutputExistsError);
    expect(() => refuseExistingScales(checkpoint)).toThrow("old.safetensors");
  });

  test("no scales, nothing to refuse", async () => {
    const checkpoint = await open(shards);
    expect(scaleShards(checkpoint)).toEqual([]);
    expect(() => refuseExistingScales(checkpoint)).not.toThrow();
  });

  test.each(["x.kv_scale", "x.k_scale", "x.v_scale", "x.k_proj.k_scale"])(
    "among the weights, %s is refused: taking it out would mean rewriting them",
    async (name) => {
      const checkpoint = await open({ "m-1.safetensors": [weight("a", 1), scale(name, 1)] });
      expect(() => layOutCheckpoint(checkpoint, SCALES)).toThrow(UnsupportedModelError);
      expect(() => layOutCheckpoint(checkpoint, SCALES)).toThrow(name);
    },
  );

  test.each(["x.weight_scale", "x.input_scale", "x.kv_scale.weight", "kv_scales"])(
    "%s is no KV scale",
    async (name) => {
      const checkpoint = await open({ "m-1.safetensors": [scale(name, 1)] });
      expect(scaleShards(checkpoint)).toEqual([]);
      expect(layOutCheckpoint(checkpoint, SCALES).weights).toHaveLength(1);
    },
  );
});
