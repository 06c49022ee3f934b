// Where ONNX Runtime finds a checkpoint's bytes: below one folder, by paths that never leave it.

import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Checkpoint, Shard, TensorLocation } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError } from "../../src/errors.js";
import { weightLocations } from "../../src/pipeline/weight-locations.js";
import { makePipe } from "../helpers/odd-files.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

// The files of most of these tests are names alone.
vi.mock(import("../../src/checkpoint/plain-file.js"), async (original) => {
  const actual = await original();
  const requireStillPlain: typeof actual.requireStillPlain = (path, bytes) => {
    if (looksAtFiles()) actual.requireStillPlain(path, bytes);
  };
  return { ...actual, requireStillPlain };
});
const looksAtFiles = vi.hoisted(() => vi.fn(() => false));

/** A checkpoint with a tensor in each file, named after it. */
function checkpointOf(files: readonly string[], dtype = "BF16"): Checkpoint {
  const tensors: TensorLocation[] = files.map((file) => ({
    name: file,
    dtype,
    shape: [2, 3],
    offset: 72,
    byteLength: 12,
    file,
    shard: "model.safetensors",
  }));
  const shards: Shard[] = files.map((path) => ({
    name: path,
    path,
    header: { metadata: {}, tensors: [], fileBytes: 84 },
  }));
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return {
    folder: "/model",
    files: new Map(),
    configText: "{}",
    config: {},
    shards,
    tensors: byName,
    modelOpt: undefined,
    index: undefined,
    warnings: [],
  };
}

test.each<[string, string[], string, string[]]>([
  ["one file", ["/m/a.safetensors"], "/m", ["a.safetensors"]],
  ["files side by side", ["/m/a", "/m/b"], "/m", ["a", "b"]],
  ["folders side by side", ["/m/x/a", "/m/y/b"], "/m", ["x/a", "y/b"]],
  ["a folder inside another", ["/m/a", "/m/x/y/b"], "/m", ["a", "x/y/b"]],
  ["names of which one begins the other", ["/m/x/a", "/m/xy/b"], "/m", ["x/a", "xy/b"]],
  ["a folder whose name begins with two dots", ["/m/a", "/m/..x/b"], "/m", ["a", "..x/b"]],
  ["nothing in common", ["/x/a", "/y/b"], "/", ["x/a", "y/b"]],
  ["nothing in common, and two dots", ["/a", "/..x/b"], "/", ["a", "..x/b"]],
])("%s: the deepest folder that holds all, and the way from there", (_rule, files, folder, locations) => {
  const found = weightLocations(checkpointOf(files));
  expect(found.folder).toBe(folder);
  expect(files.map((file) => found.locate(file).data)).toEqual(
    locations.map((location) => ({ location, offset: 72, byteLength: 12 })),
  );
});

describe("the element type of a tensor", () => {
  test.each([
    ["BF16", "bfloat16"],
    ["F16", "float16"],
    ["F32", "float32"],
  ])("%s is %s", (dtype, elementType) => {
    expect(weightLocations(checkpointOf(["/m/a"], dtype)).locate("/m/a")).toMatchObject({ elementType, shape: [2, 3] });
  });

  test.each([
    ["is none that graphs know", "I64", "/m/a"],
    ["is unknown, as there is no tensor", "BF16", "absent"],
  ])("that %s is an error by the tensor's name", (_rule, dtype, name) => {
    const locate = () => weightLocations(checkpointOf(["/m/a"], dtype)).locate(name);
    expect(locate).toThrow(CheckpointError);
    expect(locate).toThrow(`"${name}"`);
  });
});

describe.skipIf(process.platform === "win32")(
  "a file that is another by the time its weights are needed is refused",
  () => {
    const TENSOR_END = 84;
    test.each<[string, (path: string) => void, RegExp]>([
      ["gone", () => {}, /found nothing/],
      ["shorter", (path) => writeFileSync(path, "x".repeat(TENSOR_END - 1)), /at least 84 bytes .* found one of 83/],
      ["a pipe", (path) => makePipe(path), /found a named pipe/],
      ["a link to a device", (path) => symlinkSync("/dev/zero", path), /found a device/],
    ])("%s", (_kind, make, says) => {
      looksAtFiles.mockReturnValue(true);
      onTestFinished(() => void looksAtFiles.mockReset());
      const path = join(temporaryFolder(), "shard");
      const { locate } = weightLocations(checkpointOf([path]));
      writeFileSync(path, "x".repeat(TENSOR_END));
      expect(locate(path).data.byteLength).toBe(12);
      rmSync(path);
      make(path);
      expect(() => locate(path)).toThrow(CheckpointError);
      expect(() => locate(path)).toThrow(says);
    });
  },
);
