import { appendFile, copyFile, mkdir, rename, rm, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { refuseChangedInput, withUnchangedInput } from "../../src/checkpoint/input-changes.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, InterruptedError, ProviderError } from "../../src/errors.js";
import { temporaryFolder, writeFiles } from "../helpers/safetensors-files.js";
import { thrownBy } from "./disk-faults.js";
import { FIRST, INDEX, SHARDED, SIDE_FILES } from "./scale-runs.js";

const root = temporaryFolder();
const at = (name: string) => join(root(), "model", name);

async function open() {
  await writeFiles(join(root(), "model"), {
    ...SHARDED,
    ...SIDE_FILES,
    "chat_template.jinja": "",
    "kv_scales.json": "{}",
  });
  return openCheckpoint(join(root(), "model"));
}

const changes: readonly [change: string, edit: (path: string) => Promise<unknown>][] = [
  ["appended to", (path) => appendFile(path, "x")],
  ["truncated", (path) => truncate(path, 0)],
  ["touched", (path) => utimes(path, 1, 1)],
  ["removed", (path) => rm(path)],
  [
    "replaced by a copy with its time",
    async (path) => {
      await copyFile(path, `${path}.x`);
      await rename(`${path}.x`, path);
    },
  ],
  [
    "replaced by a link to another file",
    async (path) => {
      await rename(path, join(root(), "moved"));
      await copyFile(join(root(), "moved"), join(root(), "other"));
      await symlink("../other", path);
    },
  ],
  [
    "replaced by a folder",
    async (path) => {
      await rm(path);
      await mkdir(path);
    },
  ],
];
const used = ["config.json", INDEX, FIRST, "tokenizer.json", "chat_template.jinja", "kv_scales.json"];

describe("a checkpoint is refused when, since it was opened,", () => {
  test.each(used.flatMap((name) => changes.map(([change, edit]) => [name, change, edit] as const)))(
    "%s was %s",
    async (name, _change, edit) => {
      const checkpoint = await open();
      await expect(refuseChangedInput(checkpoint)).resolves.toBeUndefined();
      await edit(at(name));
      const error = await thrownBy(refuseChangedInput(checkpoint));
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message).toContain(at(name));
    },
  );
});

test("a file that nothing was read from may change, and others may come", async () => {
  const checkpoint = await open();
  await writeFile(at("README.md"), "edited");
  await writeFile(at("notes.txt"), "new");
  await expect(refuseChangedInput(checkpoint)).resolves.toBeUndefined();
});

describe("work on a checkpoint that changed meanwhile", () => {
  test.each<[outcome: string, end: () => number]>([
    ["succeeded", () => 1],
    [
      "failed for another reason",
      () => {
        throw new ProviderError("the device says something else");
      },
    ],
  ])("that %s is refused, naming the file", async (_outcome, end) => {
    const checkpoint = await open();
    const work = withUnchangedInput(checkpoint, async () => {
      await truncate(at(FIRST), 8);
      return end();
    });
    const error = await thrownBy(work);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toContain(at(FIRST));
  });

  test("that was interrupted stays interrupted", async () => {
    const checkpoint = await open();
    const work = withUnchangedInput(checkpoint, async () => {
      await truncate(at(FIRST), 8);
      throw new InterruptedError();
    });
    expect(await thrownBy(work)).toBeInstanceOf(InterruptedError);
  });

  test("is what it was otherwise", async () => {
    const checkpoint = await open();
    expect(await withUnchangedInput(checkpoint, async () => 1)).toBe(1);
    const error = new ProviderError("x");
    expect(await thrownBy(withUnchangedInput(checkpoint, () => Promise.reject(error)))).toBe(error);
  });
});
