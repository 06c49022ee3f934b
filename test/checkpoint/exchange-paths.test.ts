import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { exchangePaths } from "../../src/checkpoint/exchange-paths.js";
import { readTree, temporaryFolder, writeFiles } from "../helpers/safetensors-files.js";

const root = temporaryFolder();
const at = (name: string) => join(root(), name);

// Whether it can depends on the system; what it says must be what happened.
test.each(["one", "-rf", "with 'quotes\" and $(touch x)\n", "é"])(
  "two folders are exchanged whole, or stay as they are: %j",
  async (name) => {
    await writeFiles(at(name), { a: "1", "sub/b": "2" });
    await writeFiles(at("two"), { c: "3" });
    const [one, two] = [await readTree(at(name)), await readTree(at("two"))];
    const isDone = await exchangePaths(at(name), at("two"));
    expect(await readTree(at(name))).toEqual(isDone ? two : one);
    expect(await readTree(at("two"))).toEqual(isDone ? one : two);
    expect((await readdir(root())).sort()).toEqual([name, "two"].sort());
    if (process.platform !== "linux") expect(isDone).toBe(false);
  },
);

test("nothing happens when one of them is not there", async () => {
  await mkdir(at("folder"));
  await writeFile(at("folder/x"), "x");
  await expect(exchangePaths(at("folder"), at("absent"))).rejects.toThrow("ENOENT");
  expect(await readTree(root())).toEqual({ "folder/": "a folder", "folder/x": "x" });
});
