import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { tryNewFolder } from "../../src/checkpoint/output-checks.js";
import { writeNewCheckpoint } from "../../src/checkpoint/write-checkpoint.js";
import { OutputExistsError } from "../../src/errors.js";
import { readTree, temporaryFolder, writeFiles } from "../helpers/safetensors-files.js";
import { disk, repairDiskAfterEach, thrownBy } from "./disk-faults.js";
import { contentOf, expectFinished, type Run, SHARDED, SINGLE, TGI, VLLM } from "./scale-runs.js";

vi.mock("node:fs/promises", async (importOriginal) => {
  const { watchDisk } = await import("./disk-faults.js");
  return watchDisk(await importOriginal());
});
vi.mock("node:fs", async (importOriginal) => {
  const { watchSyncDisk } = await import("./disk-faults.js");
  return watchSyncDisk(await importOriginal());
});
vi.mock("../../src/checkpoint/process-identity.js", async (importOriginal) => {
  const { countAsDead } = await import("./disk-faults.js");
  return countAsDead(await importOriginal());
});
vi.mock("../../src/checkpoint/exchange-paths.js", () => ({ exchangePaths: async () => false }));
repairDiskAfterEach();

const root = temporaryFolder();
const model = () => join(root(), "model");
const output = () => join(root(), "out");

async function write(run: Run, force = false, target = output()) {
  const checkpoint = await openCheckpoint(model());
  return writeNewCheckpoint(checkpoint, target, contentOf(run, checkpoint), { force });
}

/** Kills a run before the first change that matches. @returns the folder that it leaves beside its output */
async function killBefore(pattern: RegExp, force = false, target = output()): Promise<string> {
  let isDead = false;
  disk.onChange = (change, path) => {
    isDead ||= pattern.test(`${change} ${path}`);
    if (isDead) throw new Error("killed");
  };
  await write(VLLM, force, target).catch(() => undefined);
  disk.onChange = undefined;
  const left = (await readdir(root())).find((name) => name.includes(".partial-"));
  return join(root(), left ?? expect.fail("nothing was left"));
}

const atWeights = /^link /;

async function editMarker(folder: string, edit: Readonly<Record<string, unknown>>): Promise<void> {
  const path = join(folder, "written-by.json");
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, "utf8")), ...edit }));
}

async function makeOld(folder: string): Promise<void> {
  const time = Date.now() / 1000 - 2 * 24 * 3600;
  const inside = (await readdir(join(folder, "new"))).map((name) => join("new", name));
  for (const name of [...inside, "new", "."]) await utimes(join(folder, name), time, time);
}

describe("what a killed run left goes", () => {
  test.each<[when: string, pattern: RegExp]>([
    ["before it could say whose it is", /^mkdir .*new$/],
    ["while it said whose it is", /^writeFile .*written-by/],
    ["before the weights", atWeights],
    ["before the record", /^writeFile .*kv_scales/],
    ["before the last step", /^rename .*out$/],
  ])("when it was killed %s", async (_when, pattern) => {
    await writeFiles(model(), { ...SHARDED, LICENSE: "MIT" });
    await killBefore(pattern);
    expect(await write(TGI)).toMatchObject({ warnings: [] });
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
  });

  test("when its marker is cut off", async () => {
    await writeFiles(model(), SINGLE);
    const left = await killBefore(/^writeFile .*written-by/);
    await writeFile(join(left, "written-by.json"), '{"tool":');
    await write(TGI);
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
  });

  test("when it is another machine's or container's that has done nothing for a day", async () => {
    await writeFiles(model(), SINGLE);
    const left = await killBefore(atWeights);
    await editMarker(left, { scope: "00000000" });
    await makeOld(left);
    await write(TGI);
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
  });

  test("before a run begins its work, too", async () => {
    await writeFiles(model(), SINGLE);
    await killBefore(atWeights);
    await tryNewFolder(await openCheckpoint(model()), output(), false);
    expect(await readdir(root())).toEqual(["model"]);
  });

  test("when the output's name takes all the bytes that a name can have", async () => {
    await writeFiles(model(), SINGLE);
    const target = join(root(), "é".repeat(127));
    await killBefore(atWeights, false, target);
    await write(TGI, false, target);
    expect((await readdir(root())).sort()).toEqual(["model", "é".repeat(127)].sort());
  });
});

describe("an old result that had stepped aside", () => {
  const betweenRenames = /^rename .*\/out$/;

  async function prepare(): Promise<Record<string, string>> {
    await writeFiles(model(), SHARDED);
    await write(TGI);
    const old = await readTree(output());
    // The first rename takes the old result aside; nothing happens after it.
    await killBefore(betweenRenames, true);
    expect(await readdir(root())).not.toContain("out");
    return old;
  }

  test("comes back, and is not replaced without force", async () => {
    const old = await prepare();
    expect(await thrownBy(write(VLLM))).toBeInstanceOf(OutputExistsError);
    expect(await readTree(output())).toEqual(old);
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
  });

  test("comes back before a run begins its work, which is then refused", async () => {
    const old = await prepare();
    const trying = tryNewFolder(await openCheckpoint(model()), output(), false);
    expect(await thrownBy(trying)).toBeInstanceOf(OutputExistsError);
    expect(await readTree(output())).toEqual(old);
  });

  test("is replaced with force", async () => {
    await prepare();
    await write(VLLM, true);
    expectFinished(output(), VLLM);
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
  });

  test("stays where it is, with a warning, when something else took its place", async () => {
    await prepare();
    await mkdir(output());
    const { warnings } = await write(VLLM);
    const left = (await readdir(root())).find((name) => name.startsWith(".out.")) ?? expect.fail("it is gone");
    expect(await readdir(join(root(), left, "old"))).toContain("kv_scales.json");
    expect(warnings).toEqual([expect.stringContaining(left)]);
  });

  test("goes when its successor is there", async () => {
    await writeFiles(model(), SHARDED);
    await write(TGI);
    await killBefore(/^rename .*\/removed$/, true);
    await write(TGI, true);
    expectFinished(output(), TGI);
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
  });
});

describe("what is not a killed run's stays", () => {
  const names = [
    ".out.partial-",
    ".out.partial-12",
    ".out.partial-999999",
    ".out.replaced-999999",
    ".out.backup.partial-999999",
    ".out.v2.replaced-999999",
    ".out2.partial-999999-00000000-00000000",
    ".out.partial-999999-00000000-00000000",
    ".out.partial-999999-00000000-0000000",
    "out.partial-999999-00000000-00000000",
  ];

  test.each(names)("a folder called %s without a marker", async (name) => {
    await writeFiles(model(), SINGLE);
    await writeFiles(join(root(), name), { x: "mine" });
    await write(TGI);
    expect(await readTree(join(root(), name))).toEqual({ x: "mine" });
  });

  const rows: [what: string, edit: (left: string) => Promise<unknown>][] = [
    ["a marker of another output", (left) => editMarker(left, { output: "out.v2" })],
    ["a marker of another program", (left) => editMarker(left, { tool: "another" })],
    ["a marker of a process that runs", (left) => editMarker(left, { pid: process.ppid, started: "" })],
    ["a marker of another container", (left) => editMarker(left, { scope: "00000000" })],
    ["a marker that leads elsewhere", (left) => editMarker(left, { files: ["../../model/config.json"] })],
  ];

  test.each(rows)("a folder with %s", async (_what, edit) => {
    await writeFiles(model(), SINGLE);
    const left = await killBefore(atWeights);
    await edit(left);
    const before = await readTree(left);
    await write(TGI);
    expect(await readTree(left)).toEqual(before);
  });

  test.each(["new/mine.txt", "mine.txt", "new/sub/mine.txt"])("somebody's file in it: %s", async (name) => {
    await writeFiles(model(), SINGLE);
    const left = await killBefore(atWeights);
    await writeFiles(left, { [name]: "mine" });
    const { warnings } = await write(TGI);
    expect(Object.values(await readTree(left))).toContain("mine");
    expect(warnings).toEqual([expect.stringContaining(left)]);
  });

  test("a link in the place of the new folder, and what it leads to", async () => {
    await writeFiles(model(), SINGLE);
    const left = await killBefore(atWeights);
    await rm(join(left, "new"), { recursive: true });
    const { symlink } = await import("node:fs/promises");
    await symlink(model(), join(left, "new"));
    const before = await readTree(model());
    await write(TGI);
    expect(await readTree(model())).toEqual(before);
  });

  test("an edited result that was exchanged for the new one", async () => {
    await writeFiles(model(), SHARDED);
    await write(TGI);
    const left = await killBefore(/^rename .*\/out$/, true);
    // As after an exchange: the old result under the new one's name in the work folder, and the new one in its place.
    await rename(join(left, "new"), output());
    await rename(join(left, "old"), join(left, "new"));
    await writeFile(join(left, "new", "notes.txt"), "mine");
    const { warnings } = await write(VLLM, true);
    expect(Object.values(await readTree(left))).toContain("mine");
    expect(warnings).toEqual([expect.stringContaining(left)]);
  });
});
