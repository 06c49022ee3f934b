// Where results go: beside the model, or where the user is for what comes out of the hub's cache. Nothing of ours lands in
// the cache, where huggingface_hub's scan would call it damaged.

import { mkdir, realpath, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { modelOfRepoFolder, modelOfSnapshot } from "../../src/checkpoint/hub-folders.js";
import { UsageError } from "../../src/errors.js";
import { locateModel, placeOfResult } from "../../src/pipeline/locate-model.js";
import { temporaryFolder } from "../helpers/safetensors-files.js";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const root = temporaryFolder();
let repo = "";
let snapshot = "";

beforeEach(async () => {
  repo = join(await realpath(root()), "hub/models--org--tiny");
  snapshot = join(repo, "snapshots", COMMIT);
  await mkdir(snapshot, { recursive: true });
});
afterEach(() => vi.restoreAllMocks());

async function placeOf(model: string, output?: string): Promise<string> {
  return placeOfResult(await locateModel({ model }), output, "FP8-KV");
}

test("the result of a folder lies beside it", async () => {
  expect(await placeOf(root())).toBe(`${root()}-FP8-KV`);
});

describe("the result of a snapshot in the hub's cache", () => {
  test("goes to the current folder, under the model's name", async () => {
    expect(await placeOf(snapshot)).toBe(resolve("tiny-FP8-KV"));
  });

  test("goes there through a link, too", async () => {
    await symlink(snapshot, join(root(), "link"));
    expect(await placeOf(join(root(), "link"))).toBe(resolve("tiny-FP8-KV"));
  });

  test.each([
    ["the snapshot", () => snapshot],
    ["the cache's folder of the model", () => repo],
    ["the cache", () => join(repo, "..")],
  ])("is refused when the current folder is %s", async (_, current) => {
    vi.spyOn(process, "cwd").mockReturnValue(resolve(current()));
    await expect(placeOf(snapshot)).rejects.toThrow(UsageError);
    await expect(placeOf(snapshot)).rejects.toThrow(/would be in the hub's cache.*with -o/);
  });

  test("is refused where -o names a place beside the snapshot", async () => {
    await expect(placeOf(snapshot, `${snapshot}-FP8-KV`)).rejects.toThrow(/would be in the hub's cache/);
  });

  test("goes wherever else -o says, also into the folder that holds the cache", async () => {
    const output = join(repo, "../tiny-fp8");
    expect(await placeOf(snapshot, output)).toBe(output);
  });

  test("is not written in place", async () => {
    await expect(locateModel({ model: snapshot, inPlace: true })).rejects.toThrow(/would change the hub's cache/);
  });
});

test.each([
  [`/x/models--org--name/snapshots/${COMMIT}`, "org/name"],
  ["/x/models--gpt2/snapshots/main", "gpt2"],
  [`/x/datasets--org--name/snapshots/${COMMIT}`, undefined],
  ["/x/models--org--name/blobs/0", undefined],
  ["/x/snapshots/0", undefined],
  ["/x/models--/snapshots/0", undefined],
  ["/", undefined],
])("%s is a snapshot of %s", (path, expected) => {
  expect(modelOfSnapshot(path)?.repo).toBe(expected);
});

test("the cache's folder of a model names it", () => {
  expect(modelOfRepoFolder("/x/models--org--name")).toEqual({ repo: "org/name", repoFolder: "/x/models--org--name" });
});
