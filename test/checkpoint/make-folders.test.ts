import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeFolders } from "../../src/checkpoint/make-folders.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "folders-"));
});
afterEach(() => rm(root, { recursive: true }));

test("makes what is missing, and says what that was, from the top", async () => {
  const [a, b] = [join(root, "a"), join(root, "a", "b")];
  expect(await makeFolders(b)).toEqual([a, b]);
  expect(await readdir(a)).toEqual(["b"]);
  expect(await makeFolders(b)).toEqual([]);
});

test("links to folders are followed", async () => {
  await mkdir(join(root, "real"));
  await symlink(join(root, "real"), join(root, "link"));
  expect(await makeFolders(join(root, "link", "x"))).toEqual([join(root, "link", "x")]);
  expect(await readdir(join(root, "real"))).toEqual(["x"]);
});

test("several at once make one, and none fails", async () => {
  const deep = join(root, "a", "b", "c", "d");
  const made = await Promise.all(Array.from({ length: 20 }, () => makeFolders(deep)));
  expect(made.flat().sort()).toEqual([..."abcd"].map((_, i) => join(root, ...["a", "b", "c", "d"].slice(0, i + 1))));
});

test.each([
  ["a file above it", "file/x/y", "ENOTDIR"],
  ["a file in its place", "file", "ENOTDIR"],
  ["a link to nothing in its place", "dangling", "ENOENT"],
  ["a link to nothing above it", "dangling/x", "ENOENT"],
  ["a link to itself above it", "loop/x", "ELOOP"],
  ["a name that is too long", `new/${"x".repeat(300)}/y`, "ENAMETOOLONG"],
])("an end, an error with its code, and nothing left behind: %s", async (_what, path, code) => {
  await writeFile(join(root, "file"), "");
  await symlink(join(root, "nowhere"), join(root, "dangling"));
  await symlink("loop", join(root, "loop"));
  await expect(makeFolders(join(root, path))).rejects.toMatchObject({ code });
  expect((await readdir(root)).sort()).toEqual(["dangling", "file", "loop"]);
});

test
  .runIf(existsSync("/proc/self/fd"))
  .each(["/proc/x", "/proc/x/y/z", "/proc/self/x", "/proc/self/fd/x", "/dev/fd/x/y"])(
  "%s ends, too: Node's own recursive mkdir does not",
  async (path) => {
    await expect(makeFolders(path)).rejects.toThrow(/ENOENT: no folder can be made in \/(?:proc|dev)/);
  },
);
