import { existsSync, statSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { identifyFile } from "../../src/checkpoint/file-identity.js";
import { placeFile, ReplacedMeanwhileError, replaceFile, syncPath } from "../../src/checkpoint/place-file.js";
import { readTree, temporaryFolder } from "../helpers/safetensors-files.js";

const folder = temporaryFolder();
const at = (name: string) => join(folder(), name);

describe("a large file", () => {
  test("is linked: the same inode, no bytes copied", async () => {
    await writeFile(at("source"), "weights");
    let copied = 0;
    const onCopied = (bytes: number) => {
      copied += bytes;
    };
    expect(await placeFile(at("source"), at("target"), { onCopied })).toBe("hard link");
    expect((await stat(at("target"))).ino).toBe((await stat(at("source"))).ino);
    expect(copied).toBe(0);
  });

  test("is never put over another file", async () => {
    await writeFile(at("source"), "weights");
    await writeFile(at("target"), "something else");
    await expect(placeFile(at("source"), at("target"))).rejects.toThrow("EEXIST");
    expect(await readFile(at("target"), "utf8")).toBe("something else");
  });

  test("that is not there is an error", async () => {
    await expect(placeFile(at("absent"), at("target"))).rejects.toThrow("ENOENT");
  });

  // Hard links end where a file system ends. Linux has a second one in memory.
  const other = "/dev/shm";
  const hasOther = existsSync(other) && statSync(other).dev !== statSync(tmpdir()).dev;

  describe.skipIf(!hasOther)("on another file system (skipped where /dev/shm is not one)", () => {
    const size = 5 * 2 ** 20;

    async function withOther(use: (target: string) => Promise<void>): Promise<void> {
      const elsewhere = await mkdtemp(join(other, "create-kv-scales-"));
      try {
        await use(join(elsewhere, "target"));
      } finally {
        await rm(elsewhere, { recursive: true });
      }
    }

    test("is copied, every byte once counted", async () => {
      const content = Buffer.alloc(size, "0123456789");
      await writeFile(at("source"), content);
      await withOther(async (target) => {
        const copied: number[] = [];
        expect(await placeFile(at("source"), target, { onCopied: (bytes) => copied.push(bytes) })).toBe("copy");
        expect(content.equals(await readFile(target))).toBe(true);
        expect(copied.length).toBeGreaterThan(1);
        expect(copied.reduce((sum, bytes) => sum + bytes, 0)).toBe(size);
      });
    });

    test("stops copying when the signal says so", async () => {
      await writeFile(at("source"), Buffer.alloc(size));
      await withOther(async (target) => {
        const controller = new AbortController();
        const copying = placeFile(at("source"), target, {
          signal: controller.signal,
          onCopied: () => controller.abort(),
        });
        await expect(copying).rejects.toThrow("abort");
        expect(statSync(target, { throwIfNoEntry: false })?.size ?? 0).toBeLessThan(size);
      });
    });

    test("is never put over another file", async () => {
      await writeFile(at("source"), "weights");
      await withOther(async (target) => {
        await writeFile(target, "something else");
        await expect(placeFile(at("source"), target)).rejects.toThrow("EEXIST");
        expect(await readFile(target, "utf8")).toBe("something else");
      });
    });
  });
});

describe("a small file", () => {
  const replace = async (content: string | Uint8Array) =>
    replaceFile(at("config.json"), content, await identifyFile(at("config.json")));

  test.each<[kind: string, content: string | Uint8Array]>([
    ["text", "é\n"],
    ["bytes", Uint8Array.of(0, 255)],
    ["nothing", ""],
  ])("is replaced whole: %s", async (_kind, content) => {
    await writeFile(at("config.json"), "something longer than that", { mode: 0o640 });
    const written = await replace(content);
    expect(await readFile(at("config.json"))).toEqual(Buffer.from(content));
    expect(await identifyFile(at("config.json"))).toEqual(written);
    expect((await stat(at("config.json"))).mode & 0o777).toBe(0o640);
    expect(await readdir(folder())).toEqual(["config.json"]);
  });

  test("is new where none was", async () => {
    expect(await replace("new")).toEqual(await identifyFile(at("config.json")));
    expect(await readdir(folder())).toEqual(["config.json"]);
  });

  test("a link to it is replaced, not what it leads to", async () => {
    await writeFile(at("blob"), "old");
    await symlink("blob", at("config.json"));
    await replace("new");
    expect([await readFile(at("blob"), "utf8"), await readFile(at("config.json"), "utf8")]).toEqual(["old", "new"]);
    expect((await readdir(folder())).sort()).toEqual(["blob", "config.json"]);
  });

  test.each<[change: string, edit: () => Promise<unknown>]>([
    ["rewritten", () => writeFile(at("config.json"), "old!")],
    ["touched", () => utimes(at("config.json"), 1, 1)],
    ["replaced", () => writeFile(at("t"), "old").then(() => rename(at("t"), at("config.json")))],
    ["removed", () => rm(at("config.json"))],
  ])("that somebody has %s meanwhile stays as it is now", async (_change, edit) => {
    await writeFile(at("config.json"), "old");
    const known = await identifyFile(at("config.json"));
    await edit();
    const before = await readTree(folder());
    await expect(replaceFile(at("config.json"), "new", known)).rejects.toThrow(ReplacedMeanwhileError);
    expect(await readTree(folder())).toEqual(before);
  });

  test("that somebody has made meanwhile stays as it is now", async () => {
    await writeFile(at("config.json"), "old");
    await expect(replaceFile(at("config.json"), "new", undefined)).rejects.toThrow(ReplacedMeanwhileError);
    expect(await readTree(folder())).toEqual({ "config.json": "old" });
  });

  test("in a folder that is not there is an error", async () => {
    await expect(replaceFile(at("absent/config.json"), "new", undefined)).rejects.toThrow("ENOENT");
  });
});

test("files and folders can be flushed to disk", async () => {
  await writeFile(at("file"), "x");
  await expect(syncPath(at("file"))).resolves.toBeUndefined();
  await expect(syncPath(folder())).resolves.toBeUndefined();
});
