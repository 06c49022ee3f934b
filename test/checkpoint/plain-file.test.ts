// The one way into every file: only plain files are opened, nothing is read past its limit, nothing waits without end.

import { promises, readdirSync, renameSync } from "node:fs";
import { open, symlink, truncate, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openPlainFile, readPlainText, requirePlainFile, withPlainFile } from "../../src/checkpoint/plain-file.js";
import { CheckpointError, PromptDataError } from "../../src/errors.js";
import { temporaryFolder } from "../helpers/golden-checkpoints.js";
import { makePipe, ODD_FILES } from "../helpers/odd-files.js";

const LIMIT = 1000;

describe.skipIf(process.platform === "win32").each(Object.entries(ODD_FILES))("%s", (_kind, { make, called }) => {
  test.each([
    ["is not read", (path: string) => readPlainText(path, LIMIT)],
    ["is not opened", (path: string) => withPlainFile(path, ({ stats }) => Promise.reject(new Error(`${stats.size}`)))],
    ["is not found to be a plain file", (path: string) => requirePlainFile(path)],
  ])("%s", async (what, read) => {
    const path = join(await temporaryFolder(), "file");
    await make(path);
    const error: unknown = await read(path).catch((thrown: unknown) => thrown);
    if (_kind === "a file of a gigabyte") {
      // It is a plain file: only reading the whole of it is refused.
      if (what === "is not read") expect(error).toMatchObject({ message: expect.stringMatching(called) });
      return;
    }
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ message: expect.stringMatching(called) });
    expect(error).toMatchObject({ message: expect.stringContaining(path) });
  });
});

test("a refusal is of the class that was asked for", async () => {
  await expect(readPlainText(await temporaryFolder(), LIMIT, PromptDataError)).rejects.toThrow(PromptDataError);
});

describe("a limit", () => {
  test("is what may be read", async () => {
    const path = join(await temporaryFolder(), "file");
    await writeFile(path, "x".repeat(LIMIT));
    expect(await readPlainText(path, LIMIT)).toBe("x".repeat(LIMIT));
    await expect(readPlainText(path, LIMIT - 1)).rejects.toThrow(`${path}: cannot be read: expected at most 999 bytes`);
  });

  test.skipIf(process.platform !== "linux")("holds for files that have no size, as those of /proc", async () => {
    expect(await readPlainText("/proc/self/status", 100_000)).toMatch(/^Name:/);
    await expect(readPlainText("/proc/self/status", 10)).rejects.toThrow("expected at most 10 bytes, found more");
  });

  test("holds for a file that grows while it is read", async () => {
    const path = join(await temporaryFolder(), "file");
    await writeFile(path, "x");
    // It is small when it is looked at, and has grown beyond the limit when it is read.
    await afterFirstStat(() => truncate(path, 100 * LIMIT));
    await expect(readPlainText(path, LIMIT)).rejects.toThrow("expected at most 1000 bytes");
  });

  test("a file that has grown within its limit is read whole", async () => {
    const path = join(await temporaryFolder(), "file");
    await writeFile(path, "x".repeat(99_000));
    expect(await readPlainText(path, 100_000)).toHaveLength(99_000);
  });
});

/** What happens to files between the first look at one and its opening. */
async function afterFirstStat(act: () => unknown): Promise<void> {
  const { stat } = promises;
  promises.stat = (async (path: string) => {
    const found = await stat(path);
    promises.stat = stat;
    syncBuiltinESMExports();
    await act();
    return found;
  }) as typeof stat;
  syncBuiltinESMExports();
  restore = () => {
    promises.stat = stat;
    syncBuiltinESMExports();
  };
}

let restore = () => {};
afterEach(() => restore());

test.skipIf(process.platform === "win32")("a pipe that takes the file's place meanwhile is refused, too", async () => {
  const path = join(await temporaryFolder(), "file");
  await writeFile(path, "x");
  makePipe(`${path}.pipe`);
  await afterFirstStat(() => renameSync(`${path}.pipe`, path));
  await expect(readPlainText(path, LIMIT)).rejects.toThrow("found a named pipe (FIFO)");
});

test("a read beyond the end says where the file ends", async () => {
  const path = join(await temporaryFolder(), "file");
  await writeFile(path, "12345");
  await withPlainFile(path, async ({ read }) => {
    expect((await read(1, 3)).toString()).toBe("234");
    await expect(read(3, 5)).rejects.toThrow(`${path}: the file ends at byte 5, but 8 were expected`);
  });
});

test.skipIf(process.platform !== "linux")("no file stays open, whatever happens", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "file");
  await writeFile(path, Buffer.from([0xff]));
  await symlink("file", join(folder, "link"));
  const before = readdirSync("/proc/self/fd").length;
  for (const name of ["file", "link", "absent", "."]) {
    await readPlainText(join(folder, name), LIMIT).catch(() => {});
    await readPlainText(join(folder, name), 0).catch(() => {});
    await withPlainFile(join(folder, name), ({ read }) => read(5, 5)).catch(() => {});
  }
  expect(readdirSync("/proc/self/fd")).toHaveLength(before);
  const { handle } = await openPlainFile(path);
  await handle.close();
});

test("too few file handles are said to be so", async () => {
  const path = join(await temporaryFolder(), "file");
  await writeFile(path, "x");
  const { stat } = promises;
  promises.stat = (() =>
    Promise.reject(Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" }))) as typeof stat;
  syncBuiltinESMExports();
  restore = () => {
    promises.stat = stat;
    syncBuiltinESMExports();
  };
  await expect(readPlainText(path, LIMIT)).rejects.toThrow(
    "this process may not open more files. Allow more: ulimit -n",
  );
  restore();
  const handle = await open(path);
  await handle.close();
});
