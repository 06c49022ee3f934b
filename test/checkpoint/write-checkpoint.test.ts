import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { checkOutputFolder } from "../../src/checkpoint/output-checks.js";
import { writeNewCheckpoint } from "../../src/checkpoint/write-checkpoint.js";
import {
  CheckpointError,
  InterruptedError,
  OutputExistsError,
  OutputWriteError,
  UsageError,
} from "../../src/errors.js";
import { someOf } from "../helpers/how-much.js";
import { readTree, temporaryFolder, writeFiles } from "../helpers/safetensors-files.js";
import { changesOf, disk, failAt, killAt, repairDiskAfterEach, thrownBy } from "./disk-faults.js";
import {
  ATTENTION,
  CONFIG,
  contentOf,
  expectFinished,
  FIRST,
  INDEX,
  OTHER_WEIGHTS,
  type Run,
  SECOND,
  SEPARATE,
  SHARDED,
  SIDE_FILES,
  SINGLE,
  TGI,
  TGI_AGAIN,
  VLLM,
} from "./scale-runs.js";

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
// Exchanging takes a process of its own, too slow for thousands of steps: here the two renames that do without are tested,
// and in test/attack what Linux does.
vi.mock("../../src/checkpoint/exchange-paths.js", () => ({ exchangePaths: async () => false }));
repairDiskAfterEach();

const root = temporaryFolder();
const model = () => join(root(), "model");
const output = () => join(root(), "out");

interface NewOptions {
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  /** Called when the model has been read and writing begins. */
  readonly onBegin?: () => void;
}

async function writeNew(run: Run, { onBegin, ...options }: NewOptions = {}) {
  const checkpoint = await openCheckpoint(model());
  onBegin?.();
  return writeNewCheckpoint(checkpoint, output(), contentOf(run, checkpoint), { force: false, ...options });
}

describe("a new folder", () => {
  test("of a model in one file: the weights are the first of two shards, linked, and the scales the second", async () => {
    await writeFiles(model(), SINGLE);
    expect(await writeNew(TGI)).toEqual({ placement: "hard link", warnings: [] });
    expect((await readdir(output())).sort()).toEqual(["config.json", "kv_scales.json", FIRST, SECOND, INDEX].sort());
    const inode = async (path: string) => (await stat(path)).ino;
    expect(await inode(join(output(), FIRST))).toBe(await inode(join(model(), "model.safetensors")));
    expect(JSON.parse(await readFile(join(output(), INDEX), "utf8"))).toEqual({
      metadata: { total_size: 24 },
      weight_map: {
        [`${ATTENTION[0]}.k_proj.weight`]: FIRST,
        [`${ATTENTION[1]}.k_proj.weight`]: FIRST,
        [`${ATTENTION[0]}.kv_scale`]: SECOND,
        [`${ATTENTION[1]}.kv_scale`]: SECOND,
      },
    });
  });

  test("of a model in shards: they keep their names, and what else the index says stays", async () => {
    await writeFiles(model(), SHARDED);
    await writeNew(VLLM);
    const names = ["config.json", "kv_scales.json", FIRST, SECOND, INDEX, "model-kv-scales.safetensors"];
    expect((await readdir(output())).sort()).toEqual(names.sort());
    expect(await readFile(join(output(), FIRST))).toEqual(SHARDED[FIRST]);
    const { metadata, weight_map } = JSON.parse(await readFile(join(output(), INDEX), "utf8"));
    expect(metadata).toEqual({ total_size: 32, by: "someone" });
    expect(new Set(Object.values(weight_map))).toEqual(new Set([FIRST, SECOND, "model-kv-scales.safetensors"]));
  });

  test("holds the texts it was given, and the metadata in the shard with the scales", async () => {
    await writeFiles(model(), SINGLE);
    await writeNew(TGI);
    const text = (name: string) => readFile(join(output(), name), "utf8");
    expect(await text("config.json")).toBe(
      CONFIG.replace("1e-05", '1e-05,\n  "kv_cache_torch_dtype": "float8_e4m3fn"'),
    );
    expect(JSON.parse(await text("kv_scales.json"))).toMatchObject({ tool: "create-kv-scales", format: "tgi" });
    expect(await text(SECOND)).toContain('"__metadata__":{"format":"pt"}');
  });

  test("opens with the hub cache's links resolved, and gets files in their place", async () => {
    await writeFiles(join(root(), "blobs"), { weights: SINGLE["model.safetensors"], tokenizer: "{}", config: CONFIG });
    const snapshot = join(root(), "snapshots", "4f1c");
    await mkdir(snapshot, { recursive: true });
    for (const [name, blob] of [
      ["model.safetensors", "weights"],
      ["tokenizer.json", "tokenizer"],
      ["config.json", "config"],
    ] as const) {
      await symlink(`../../blobs/${blob}`, join(snapshot, name));
    }
    await symlink("snapshots/4f1c", model());
    expect(await writeNew(TGI)).toEqual({ placement: "hard link", warnings: [] });
    expect(await readdir(output())).toContain("tokenizer.json");
    expect((await readdir(output(), { withFileTypes: true })).every((entry) => entry.isFile())).toBe(true);
    expect(await readFile(join(root(), "blobs", "config"), "utf8")).toBe(CONFIG);
  });

  test("takes the tokenizer, licence and model code along", async () => {
    await writeFiles(model(), { ...SINGLE, ...SIDE_FILES });
    await writeNew(TGI);
    expect(await readTree(output())).toMatchObject(SIDE_FILES);
  });

  test("leaves other weights, hidden files, folders and earlier records behind", async () => {
    const hidden = { ".gitattributes": "", "original/params.json": "", "kv_scales.json": "another run" };
    await writeFiles(model(), { ...SINGLE, ...OTHER_WEIGHTS, ...hidden });
    await writeNew(TGI);
    const names = ["config.json", "kv_scales.json", FIRST, SECOND, INDEX];
    expect((await readdir(output())).sort()).toEqual(names.sort());
    expect(await readFile(join(output(), "kv_scales.json"), "utf8")).toContain('"format": "tgi"');
  });

  test("leaves the model's own folder as it was", async () => {
    await writeFiles(model(), { ...SINGLE, ...SIDE_FILES });
    const before = await readTree(model());
    await writeNew(VLLM);
    expect(await readTree(model())).toEqual(before);
  });

  test("may lie in folders that are not there yet", async () => {
    await writeFiles(model(), SINGLE);
    const checkpoint = await openCheckpoint(model());
    const target = join(root(), "a", "b", "out");
    await writeNewCheckpoint(checkpoint, target, contentOf(TGI, checkpoint), { force: false });
    expect(await readdir(join(root(), "a", "b"))).toEqual(["out"]);
    expect(await readdir(target)).toContain("config.json");
  });

  test("takes the place of an empty folder", async () => {
    await writeFiles(model(), SINGLE);
    await mkdir(output());
    await writeNew(TGI);
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
    expect(await readdir(output())).toContain("config.json");
  });

  test.each(Object.values({ TGI, SEPARATE, VLLM }))(
    "of format $format is read by its engines, from one file or shards",
    async (run) => {
      for (const files of [SINGLE, SHARDED]) {
        await writeFiles(model(), files);
        await writeNew(run);
        expectFinished(output(), run);
        await Promise.all([model(), output()].map((folder) => rm(folder, { recursive: true })));
      }
    },
  );
});

describe("a folder that exists", () => {
  test("is refused, and stays as it was", async () => {
    await writeFiles(model(), SINGLE);
    await writeNew(TGI);
    const before = await readTree(root());
    const error = await thrownBy(writeNew(TGI_AGAIN));
    expect(error).toBeInstanceOf(OutputExistsError);
    expect((error as Error).message).toContain(output());
    expect((error as Error).message).toContain("--force");
    expect(await readTree(root())).toEqual(before);
  });

  test("is replaced with force when this program wrote it, leaving nothing of the old one", async () => {
    await writeFiles(model(), { ...SINGLE, ...SIDE_FILES, "stale.txt": "" });
    await writeNew(TGI);
    await rm(join(model(), "stale.txt"));
    expect(await writeNew(VLLM, { force: true })).toEqual({ placement: "hard link", warnings: [] });
    expect(await readdir(output())).not.toContain("stale.txt");
    expect((await readdir(root())).sort()).toEqual(["model", "out"]);
    expectFinished(output(), VLLM);
  });

  test.each(["config.json", ".git", "kv_scales.txt"])(
    "with %s but no record of ours is refused with force too",
    async (name) => {
      await writeFiles(model(), SINGLE);
      await writeFiles(output(), { [name]: "mine" });
      const before = await readTree(root());
      const error = await thrownBy(writeNew(TGI, { force: true }));
      expect(error).toBeInstanceOf(OutputExistsError);
      expect((error as Error).message).toContain("not written by this program");
      expect(await readTree(root())).toEqual(before);
    },
  );

  test("is refused when it is a file, with force too", async () => {
    await writeFiles(model(), SINGLE);
    await writeFile(output(), "mine");
    expect(await thrownBy(writeNew(TGI, { force: true }))).toBeInstanceOf(OutputExistsError);
    expect(await readFile(output(), "utf8")).toBe("mine");
  });

  test.each(["by its name", "by a link"])("is refused when it is the model's own, %s, with force too", async (way) => {
    await writeFiles(model(), { ...SINGLE, "kv_scales.json": "{}" });
    if (way === "by a link") await symlink("model", output());
    const before = await readTree(root());
    const checkpoint = await openCheckpoint(model());
    const target = way === "by a link" ? output() : `${model()}/../model/`;
    const writing = writeNewCheckpoint(checkpoint, target, contentOf(TGI, checkpoint), { force: true });
    const error = await thrownBy(writing);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toContain("--in-place");
    expect(await readTree(root())).toEqual(before);
  });

  test("is found before any work is done", async () => {
    await writeFiles(model(), SINGLE);
    const checkpoint = await openCheckpoint(model());
    await expect(checkOutputFolder(checkpoint, output(), false)).resolves.toBeUndefined();
    await writeFiles(output(), { x: "" });
    await expect(checkOutputFolder(checkpoint, output(), false)).rejects.toThrow(OutputExistsError);
    await expect(checkOutputFolder(checkpoint, output(), true)).rejects.toThrow(OutputExistsError);
    await rm(output(), { recursive: true });
    await writeNew(TGI);
    await expect(checkOutputFolder(checkpoint, output(), true)).resolves.toBeUndefined();
  });
});

describe("a new folder that cannot be finished", () => {
  /** Changes up to the last rename: after it the result is there. */
  async function changesUntilDone(force: boolean): Promise<number> {
    const changes = await changesOf((onBegin) => writeNew(VLLM, { force, onBegin }));
    const done = changes.lastIndexOf(`rename ${output()}`);
    expect(done).toBeGreaterThan(8);
    return done + 1;
  }

  describe.each(["nothing", "an earlier result"])("where there was %s", (before) => {
    const force = before !== "nothing";

    async function prepare(): Promise<void> {
      disk.onChange = undefined;
      await Promise.all((await readdir(root())).map((name) => rm(join(root(), name), { recursive: true })));
      await writeFiles(model(), { ...SHARDED, ...SIDE_FILES });
      if (force) await writeNew(TGI);
    }

    /** The old result, the new one, or the old one beside the place that it made for the new one. */
    async function anyOldResult(): Promise<boolean> {
      const names = await readdir(root());
      const places = names.includes("out") ? [output()] : names.map((name) => join(root(), name, "old"));
      const found = await Promise.all(places.map((place) => readdir(place).catch((): string[] => [])));
      return found.some((files) => files.includes("kv_scales.json") && files.includes(INDEX));
    }

    test("after a full disk at any step, all is as it was before", async () => {
      await prepare();
      const untouched = await readTree(root());
      const steps = await changesUntilDone(force);
      for (let step = 0; step < steps; step++) {
        await prepare();
        const error = await thrownBy(writeNew(VLLM, { force, onBegin: () => failAt(step, "ENOSPC") }));
        expect(error).toBeInstanceOf(OutputWriteError);
        expect((error as Error).message).toContain(output());
        expect((error as Error).message).toContain("The disk is full");
        expect((error as Error).cause).toMatchObject({ code: "ENOSPC" });
        expect(await readTree(root())).toEqual(untouched);
      }
    });

    test("after an interruption at any step, all is as it was before", async () => {
      await prepare();
      const untouched = await readTree(root());
      const changes = await changesOf((onBegin) => writeNew(VLLM, { force, onBegin }));
      const signalled = changes.findIndex((change) => change.startsWith("rename "));
      for (let step = 0; step < signalled; step++) {
        await prepare();
        const controller = new AbortController();
        let seen = 0;
        const onBegin = () => {
          disk.onChange = () => {
            if (seen++ === step) controller.abort();
          };
        };
        const writing = writeNew(VLLM, { force, signal: controller.signal, onBegin });
        expect(await thrownBy(writing)).toBeInstanceOf(InterruptedError);
        expect(await readTree(root())).toEqual(untouched);
      }
    });

    test("after a kill at any step, running it again leaves the result and nothing else", async () => {
      await prepare();
      const steps = (await changesOf((onBegin) => writeNew(VLLM, { force, onBegin }))).length;
      const moments = Array.from({ length: steps }, (_, step) => step);
      for (const step of someOf(moments, (moment) => moment % 3 === 0)) {
        await prepare();
        // What is left to do when the result is there may fail without an error.
        await writeNew(VLLM, { force, onBegin: () => killAt(step) }).catch(() => undefined);
        disk.onChange = undefined;
        if (force) expect(await anyOldResult()).toBe(true);
        await writeNew(VLLM, { force: true });
        expect((await readdir(root())).sort()).toEqual(["model", "out"]);
        expectFinished(output(), VLLM);
      }
    });
  });

  test("with a signal raised before it began, nothing is written", async () => {
    await writeFiles(model(), SINGLE);
    expect(await thrownBy(writeNew(TGI, { signal: AbortSignal.abort() }))).toBeInstanceOf(InterruptedError);
    expect(await readdir(root())).toEqual(["model"]);
  });

  test("because a side file's link leads nowhere, nothing is left behind", async () => {
    await writeFiles(model(), { ...SINGLE, ...SIDE_FILES });
    await symlink("../blobs/gone", join(model(), "zzz.json"));
    const error = await thrownBy(writeNew(TGI));
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toContain("zzz.json");
    expect(await readdir(root())).toEqual(["model"]);
  });

  test("because a file is where its parent should be, the file stays", async () => {
    await writeFiles(model(), SINGLE);
    await writeFile(join(root(), "file"), "mine");
    const checkpoint = await openCheckpoint(model());
    const writing = writeNewCheckpoint(checkpoint, join(root(), "file", "out"), contentOf(TGI, checkpoint), {
      force: true,
    });
    expect(await thrownBy(writing)).toBeInstanceOf(OutputWriteError);
    expect(await readFile(join(root(), "file"), "utf8")).toBe("mine");
  });
});
