import { mkdir, readdir, readFile, rm, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { checkInPlace } from "../../src/checkpoint/output-checks.js";
import { OUTPUT_FORMATS } from "../../src/checkpoint/output-formats.js";
import { writeInPlace } from "../../src/checkpoint/write-in-place.js";
import { OutputExistsError, OutputWriteError } from "../../src/errors.js";
import { readTree, safetensorsOf, scale, temporaryFolder, writeFiles } from "../helpers/safetensors-files.js";
import { changesOf, disk, failAt, killAt, repairDiskAfterEach, thrownBy } from "./disk-faults.js";
import {
  ATTENTION,
  CONFIG,
  contentOf,
  expectFinished,
  expectNotMisread,
  FIRST,
  INDEX,
  type Run,
  SECOND,
  SEPARATE,
  SHARDED,
  SIDE_FILES,
  SINGLE,
  TGI,
  TGI_AGAIN,
  TGI_FNUZ,
  VLLM,
  VLLM_AGAIN,
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

async function addInPlace(run: Run, force = false, onBegin?: () => void): Promise<void> {
  const checkpoint = await openCheckpoint(model());
  onBegin?.();
  await writeInPlace(checkpoint, contentOf(run, checkpoint), force);
}

describe("in place", () => {
  test("over one file: shards and an index, and no model.safetensors", async () => {
    await writeFiles(model(), { ...SINGLE, ...SIDE_FILES });
    const { ino } = await stat(join(model(), "model.safetensors"));
    await addInPlace(TGI);
    const names = ["config.json", "kv_scales.json", FIRST, SECOND, INDEX, ...Object.keys(SIDE_FILES)];
    expect((await readdir(model())).sort()).toEqual(names.sort());
    expect((await stat(join(model(), FIRST))).ino).toBe(ino);
    expectFinished(model(), TGI);
  });

  test("over shards: they stay, one file more, and an index that names it", async () => {
    await writeFiles(model(), SHARDED);
    await addInPlace(VLLM);
    const names = ["config.json", "kv_scales.json", FIRST, SECOND, INDEX, "model-kv-scales.safetensors"];
    expect((await readdir(model())).sort()).toEqual(names.sort());
    expectFinished(model(), VLLM);
  });

  test("a second time is refused without force, and nothing changes", async () => {
    await writeFiles(model(), SINGLE);
    await addInPlace(TGI);
    const before = await readTree(model());
    const error = await thrownBy(addInPlace(TGI_AGAIN));
    expect(error).toBeInstanceOf(OutputExistsError);
    expect((error as Error).message).toContain(SECOND);
    expect(await readTree(model())).toEqual(before);
  });

  test("a second time with force replaces the scales in their file", async () => {
    await writeFiles(model(), SINGLE);
    await addInPlace(TGI);
    const names = (await readdir(model())).sort();
    await addInPlace(VLLM, true);
    expect((await readdir(model())).sort()).toEqual(names);
    expectFinished(model(), VLLM);
  });

  test("scales of another format go from config.json as well", async () => {
    await writeFiles(model(), SHARDED);
    await addInPlace(VLLM);
    await addInPlace(TGI, true);
    expect(await readFile(join(model(), "config.json"), "utf8")).not.toContain("quantization_config");
  });

  test.each(["with", "without"])(
    "weights that have the name of the scales' file are refused, %s force",
    async (how) => {
      await writeFiles(model(), { ...SINGLE, [SECOND]: SHARDED[SECOND] });
      const before = await readTree(model());
      const error = await thrownBy(addInPlace(TGI, how === "with"));
      expect(error).toBeInstanceOf(OutputExistsError);
      expect((error as Error).message).toContain(SECOND);
      expect(await readTree(model())).toEqual(before);
    },
  );

  test("another file that has the name of the first shard is refused", async () => {
    await writeFiles(model(), { ...SINGLE, [FIRST]: SINGLE["model.safetensors"] });
    const before = await readTree(model());
    const error = await thrownBy(addInPlace(TGI, true));
    expect(error).toBeInstanceOf(OutputExistsError);
    expect((error as Error).message).toContain(FIRST);
    expect(await readTree(model())).toEqual(before);
  });

  test("what is in the way is found before any work is done", async () => {
    await writeFiles(model(), { ...SINGLE, [FIRST]: SINGLE["model.safetensors"] });
    const checkpoint = await openCheckpoint(model());
    await expect(checkInPlace(checkpoint, false)).rejects.toThrow(OutputExistsError);
    await unlink(join(model(), FIRST));
    await expect(checkInPlace(checkpoint, false)).resolves.toBeUndefined();
  });

  test.each(["a folder", "a file of another program"])("%s in the way of the record is refused", async (what) => {
    await writeFiles(model(), SINGLE);
    if (what === "a folder") await mkdir(join(model(), "kv_scales.json"));
    else await writeFiles(model(), { "kv_scales.json": '{"tool":"another"}' });
    const before = await readTree(model());
    const error = await thrownBy(addInPlace(VLLM, true));
    expect(error).toBeInstanceOf(OutputExistsError);
    expect((error as Error).message).toContain("kv_scales.json");
    expect(await readTree(model())).toEqual(before);
  });

  test("killed between link and unlink, it can be run again", async () => {
    await writeFiles(model(), SINGLE);
    let linked = false;
    disk.onChange = (change, path) => {
      if (linked) throw new Error("killed");
      linked = change === "link" && path.endsWith(FIRST);
    };
    await thrownBy(addInPlace(TGI));
    disk.onChange = undefined;
    expect(linked).toBe(true);
    expect((await readdir(model())).sort()).toEqual(
      expect.arrayContaining([FIRST, SECOND, "model.safetensors"].sort()),
    );
    await addInPlace(TGI);
    expect(await readdir(model())).not.toContain("model.safetensors");
    expectFinished(model(), TGI);
  });

  const from = { "one file": SINGLE, shards: SHARDED };
  const transitions: [before: Run | undefined, after: Run][] = [
    [undefined, TGI],
    [undefined, SEPARATE],
    [undefined, VLLM],
    [TGI, TGI_AGAIN],
    [TGI, TGI_FNUZ],
    [TGI_FNUZ, TGI],
    [TGI, VLLM],
    [SEPARATE, VLLM],
    [SEPARATE, TGI],
    [VLLM, VLLM_AGAIN],
    [VLLM, TGI],
    [VLLM, SEPARATE],
  ];
  const rows = transitions.flatMap(([before, after]) =>
    Object.entries(from).map(([kind, files]) => {
      const name = (run: Run | undefined) => (run === undefined ? "no scales" : `${run.format} ${run.dtype}`);
      return [`${name(before)} to ${name(after)}, ${kind}`, before, after, files] as const;
    }),
  );

  // Only these change what another process sees; a hidden temporary file is read by no engine.
  const isVisible = (change: string) => /^(link|unlink|rename)/.test(change);

  test.each(rows)("killed at any step, no engine misreads it, and it can be run again: %s", async (...row) => {
    const [, before, after, files] = row;
    async function prepare(): Promise<void> {
      disk.onChange = undefined;
      await rm(model(), { recursive: true, force: true });
      await writeFiles(model(), files);
      if (before !== undefined) await addInPlace(before);
    }
    await prepare();
    const steps = (await changesOf((onBegin) => addInPlace(after, true, onBegin))).filter(isVisible).length;
    expect(steps).toBeGreaterThan(2);
    for (let step = 0; step < steps; step++) {
      await prepare();
      await thrownBy(addInPlace(after, true, () => killAt(step, isVisible)));
      disk.onChange = undefined;
      expectNotMisread(model(), before === undefined ? [after] : [before, after]);
      await addInPlace(after, true);
      expectFinished(model(), after);
    }
  });
});

test("after a full disk at any step in place, no temporary file is left, and it can be run again", async () => {
  const isWriting = (change: string, path: string) =>
    /^(link|unlink|rename|open)$/.test(change) && !path.endsWith("model");
  let failures = 0;
  for (let step = 0; ; step++) {
    disk.onChange = undefined;
    await rm(model(), { recursive: true, force: true });
    await writeFiles(model(), SINGLE);
    const onBegin = () => failAt(step, "ENOSPC", isWriting);
    const error = await addInPlace(VLLM, false, onBegin).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    disk.onChange = undefined;
    if (error === undefined) break;
    failures++;
    expect(error).toBeInstanceOf(OutputWriteError);
    expect((error as Error).message).toContain("The disk is full");
    expect((await readdir(model())).filter((name) => name.startsWith("."))).toEqual([]);
    expectNotMisread(model(), [VLLM]);
    await addInPlace(VLLM, true);
    expectFinished(model(), VLLM);
  }
  expect(failures).toBeGreaterThan(5);
});

test("the judges of half-written folders do see a misreading", async () => {
  const block = JSON.stringify(OUTPUT_FORMATS.vllm.config());
  await writeFiles(model(), { ...SINGLE, "config.json": block });
  expect(() => expectNotMisread(model(), [VLLM])).toThrow("vllm");

  const [first, second] = ATTENTION;
  const scales = safetensorsOf([scale(`${first}.kv_scale`, 0.5), scale(`${second}.kv_scale`, 4)]);
  await writeFiles(model(), { "config.json": CONFIG, [SECOND]: scales });
  expectNotMisread(model(), [TGI]);
  await writeFiles(model(), { "config.json": '{"kv_cache_torch_dtype":"float8_e4m3fnuz"}' });
  expect(() => expectNotMisread(model(), [TGI])).toThrow("tgi");
});
