import {
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { checkOutputFolder } from "../../src/checkpoint/output-checks.js";
import { writeNewCheckpoint } from "../../src/checkpoint/write-checkpoint.js";
import { writeInPlace } from "../../src/checkpoint/write-in-place.js";
import { OutputExistsError, UsageError } from "../../src/errors.js";
import { readTree, temporaryFolder, writeFiles } from "../helpers/safetensors-files.js";
import { thrownBy } from "./disk-faults.js";
import {
  contentOf,
  expectFinished,
  FIRST,
  INDEX,
  SECOND,
  SHARDED,
  SIDE_FILES,
  SINGLE,
  TGI,
  VLLM,
} from "./scale-runs.js";

const exchange = vi.hoisted(() => ({ before: async (_target: string): Promise<void> => {} }));
vi.mock("../../src/checkpoint/exchange-paths.js", async (importOriginal) => {
  const real = await importOriginal<typeof import("../../src/checkpoint/exchange-paths.js")>();
  return {
    async exchangePaths(one: string, other: string) {
      await exchange.before(other);
      return real.exchangePaths(one, other);
    },
  };
});

const root = temporaryFolder();
const model = () => join(root(), "model");
const output = () => join(root(), "out");
const inOutput = (name: string) => join(output(), name);

async function write(from = model(), run = VLLM) {
  const checkpoint = await openCheckpoint(from);
  return writeNewCheckpoint(checkpoint, output(), contentOf(run, checkpoint), { force: true });
}

/** An earlier result of one model, and another model to write in its place. */
async function prepare(): Promise<string> {
  const other = join(root(), "other");
  await writeFiles(model(), { ...SINGLE, ...SIDE_FILES });
  await writeFiles(other, { ...SHARDED, ...SIDE_FILES });
  await write(model(), TGI);
  return other;
}

async function appendTo(name: string, text: string): Promise<void> {
  await writeFile(inOutput(name), (await readFile(inOutput(name), "utf8")) + text);
}

describe("an earlier result is not replaced, by force either, when it holds", () => {
  const rows: [what: string, named: string, edit: () => Promise<unknown>][] = [
    ["a file more", "notes.txt", () => writeFile(inOutput("notes.txt"), "mine")],
    ["a hidden file more", ".env", () => writeFile(inOutput(".env"), "mine")],
    ["a repository", ".git", () => writeFiles(output(), { ".git/HEAD": "ref" })],
    ["an empty folder", "eval", () => mkdir(inOutput("eval"))],
    ["a link", "latest", () => symlink("/nowhere", inOutput("latest"))],
    [
      "another shard",
      "model-00003-of-00003.safetensors",
      () => writeFile(inOutput("model-00003-of-00003.safetensors"), "mine"),
    ],
    ["an edited config.json", "config.json", () => appendTo("config.json", "\n")],
    ["an edited tokenizer", "tokenizer.json", () => writeFile(inOutput("tokenizer.json"), "[]")],
    ["an edited model card", "README.md", () => appendTo("README.md", "mine")],
    ["an edited index", INDEX, () => appendTo(INDEX, " ")],
    ["other scales", SECOND, () => appendTo(SECOND, "0")],
    [
      "a folder in the place of a file",
      "LICENSE",
      async () => {
        await rm(inOutput("LICENSE"));
        await mkdir(inOutput("LICENSE"));
      },
    ],
    [
      "a link in the place of a file",
      "LICENSE",
      async () => {
        await rename(inOutput("LICENSE"), join(root(), "mine"));
        await symlink("../mine", inOutput("LICENSE"));
      },
    ],
    [
      "weights that are its own",
      FIRST,
      async () => {
        const bytes = await readFile(inOutput(FIRST));
        await rm(inOutput(FIRST));
        await writeFile(inOutput(FIRST), bytes.fill(7, bytes.length - 4));
      },
    ],
    [
      "weights of another size",
      FIRST,
      async () => {
        await writeFile(join(root(), "x"), "x");
        await rm(inOutput(FIRST));
        await link(join(root(), "x"), inOutput(FIRST));
      },
    ],
    ["the last name of its weights", FIRST, () => rm(model(), { recursive: true })],
    [
      "the last two names of its weights",
      FIRST,
      async () => {
        await link(inOutput(FIRST), inOutput("copy.safetensors"));
        await rm(model(), { recursive: true });
      },
    ],
  ];

  test.each(rows)("%s", async (_what, named, edit) => {
    const other = await prepare();
    await edit();
    const before = await readTree(root());
    const error = await thrownBy(write(other));
    expect(error).toBeInstanceOf(OutputExistsError);
    expect((error as Error).message).toContain(`${named} (`);
    expect(await readTree(root())).toEqual(before);
  });

  const records: [what: string, edit: () => Promise<unknown>][] = [
    ["a record with a space more", () => appendTo("kv_scales.json", " ")],
    [
      "a record with a key more",
      async () => {
        const text = await readFile(inOutput("kv_scales.json"), "utf8");
        await writeFile(inOutput("kv_scales.json"), text.replace("{", '{\n  "mine": 1,'));
      },
    ],
    [
      "a record without a list of files",
      () => writeFile(inOutput("kv_scales.json"), '{\n  "tool": "create-kv-scales"\n}\n'),
    ],
    ["no record", () => rm(inOutput("kv_scales.json"))],
    [
      "a link to a record",
      async () => {
        await rename(inOutput("kv_scales.json"), join(root(), "record"));
        await symlink("../record", inOutput("kv_scales.json"));
      },
    ],
  ];

  test.each(records)("%s", async (_what, edit) => {
    const other = await prepare();
    await edit();
    const before = await readTree(root());
    const error = await thrownBy(write(other));
    expect(error).toBeInstanceOf(OutputExistsError);
    expect((error as Error).message).toContain("not written by this program as a new folder");
    expect(await readTree(root())).toEqual(before);
  });

  test("a model that was calibrated in place, though its weights have another name elsewhere", async () => {
    await writeFiles(model(), SINGLE);
    await writeFiles(output(), SINGLE);
    await link(inOutput("model.safetensors"), join(root(), "weights"));
    const checkpoint = await openCheckpoint(output());
    await writeInPlace(checkpoint, contentOf(TGI, checkpoint), false);
    const before = await readTree(root());
    expect(await thrownBy(write())).toBeInstanceOf(OutputExistsError);
    expect(await readTree(root())).toEqual(before);
  });

  test("so much that the list is cut", async () => {
    const other = await prepare();
    for (let file = 0; file < 30; file++) await writeFile(inOutput(`${file}.txt`), "");
    const { message } = (await thrownBy(write(other))) as Error;
    expect(message).toContain("20 more");
    expect(message.length).toBeLessThan(1000);
  });
});

describe("an earlier result is replaced", () => {
  const rows: [what: string, edit: () => Promise<unknown>][] = [
    ["as it was left", async () => {}],
    ["when files of it are gone", () => rm(inOutput("LICENSE"))],
    [
      "when it was moved",
      async () => {
        await rename(output(), join(root(), "elsewhere"));
        await rename(join(root(), "elsewhere"), output());
      },
    ],
    ["when its files have other times", () => utimes(inOutput("LICENSE"), 1, 1)],
    [
      "when its weights still have another name, wherever",
      async () => {
        await rename(join(model(), "model.safetensors"), join(root(), "weights"));
        await rm(model(), { recursive: true });
      },
    ],
  ];

  test.each(rows)("%s", async (_what, edit) => {
    const other = await prepare();
    await edit();
    expect(await write(other)).toEqual({ placement: "hard link", warnings: [] });
    expectFinished(output(), VLLM);
    expect((await readdir(root())).filter((name) => !["model", "other", "weights"].includes(name))).toEqual(["out"]);
  });

  test("when its scales were replaced in place, but not when it was edited before", async () => {
    const other = await prepare();
    const convertInPlace = async () => {
      const checkpoint = await openCheckpoint(output());
      await writeInPlace(checkpoint, contentOf(VLLM, checkpoint), true);
    };
    await convertInPlace();
    await write(other, TGI);
    expectFinished(output(), TGI);
    await writeFile(inOutput("notes.txt"), "mine");
    await convertInPlace();
    await rm(inOutput("notes.txt"));
    expect(await thrownBy(write(model()))).toBeInstanceOf(OutputExistsError);
  });

  /** As `placeFile` leaves it where it cannot link. */
  async function turnIntoCopy(seconds: (source: number) => number): Promise<void> {
    const source = join(model(), "model.safetensors");
    await rm(inOutput(FIRST));
    await copyFile(source, inOutput(FIRST));
    const time = seconds((await stat(source)).mtimeMs / 1000);
    await utimes(inOutput(FIRST), time, time);
  }

  test("when its weights are a copy of what the input still has", async () => {
    await prepare();
    await turnIntoCopy((time) => Math.floor(time / 2) * 2);
    await write();
    expectFinished(output(), VLLM);
  });

  test("but not when the copy was changed since, or when the input is another model", async () => {
    const other = await prepare();
    await turnIntoCopy((time) => Math.floor(time / 2) * 2);
    expect(await thrownBy(write(other))).toBeInstanceOf(OutputExistsError);
    await turnIntoCopy((time) => Math.floor(time / 2) * 2 + 60);
    expect(await thrownBy(write())).toBeInstanceOf(OutputExistsError);
  });

  test("through a link to it, which stays", async () => {
    await prepare();
    await rename(output(), join(root(), "real"));
    await symlink("real", output());
    await write();
    expect((await readTree(root())).out).toBe("a link");
    expectFinished(join(root(), "real"), VLLM);
  });

  test("and kept under a visible name when something came into it at the last moment", async () => {
    const other = await prepare();
    exchange.before = (target) => writeFile(join(target, "notes.txt"), "mine");
    try {
      const before = await readTree(output());
      const { warnings } = await write(other);
      const kept = (await readdir(root())).find((name) => name.startsWith("out.kept-")) ?? expect.fail("nothing kept");
      expect(await readTree(join(root(), kept))).toEqual({ ...before, "notes.txt": "mine" });
      expect(warnings).toEqual([expect.stringContaining(join(root(), kept))]);
      expectFinished(output(), VLLM);
      expect((await readdir(root())).sort()).toEqual(["model", "other", "out", kept].sort());
    } finally {
      exchange.before = async () => {};
    }
  });
});

describe("an output that is bound up with the input is refused", () => {
  async function expectRefused(folder: string, target: string, named: string): Promise<void> {
    const before = await readTree(root());
    const checkpoint = await openCheckpoint(folder);
    for (const force of [false, true]) {
      const error = await thrownBy(checkOutputFolder(checkpoint, target, force));
      expect(error).toBeInstanceOf(UsageError);
      expect((error as Error).message).toContain(named);
    }
    expect(await readTree(root())).toEqual(before);
  }

  test("when it holds the model", async () => {
    await prepare();
    await rename(model(), inOutput("model"));
    await expectRefused(inOutput("model"), output(), "which is the input");
    await expectRefused(inOutput("model"), `${inOutput("model")}/..`, "which is the input");
  });

  test("when it holds the model by another name", async () => {
    await prepare();
    await rename(model(), inOutput("model"));
    await symlink("out/model", model());
    await symlink("out", join(root(), "link"));
    await expectRefused(model(), join(root(), "link"), "which is the input");
  });

  test("when a shard of the model is a link into it", async () => {
    await prepare();
    await rm(join(model(), "model.safetensors"));
    await symlink(inOutput(FIRST), join(model(), "model.safetensors"));
    await expectRefused(model(), output(), FIRST);
  });

  test("but not when it lies in the model's folder, and nothing of the model is in it", async () => {
    await writeFiles(model(), SINGLE);
    const checkpoint = await openCheckpoint(model());
    const target = join(model(), "fp8");
    for (let time = 0; time < 2; time++) {
      await writeNewCheckpoint(checkpoint, target, contentOf(TGI, checkpoint), { force: true });
      expectFinished(target, TGI);
    }
  });
});
