// What stands before the writing, and what happens to the folders meanwhile: nothing of the user's is lost, what cannot
// work is found before computing, and each case ends with its exit code.

import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copyResult } from "../helpers/calibrated-example.js";
import {
  calibrationOf,
  type ExampleFolder,
  INDEX_FILE,
  makeExample,
  shardName,
} from "../helpers/example-checkpoint.js";
import { someOf } from "../helpers/how-much.js";
import { preloading } from "../helpers/preload.js";
import { type CliResult, PROGRAM, runCli, runMain, startProgram } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

const SHARDS = 2;
const SHARD = shardName(1, SHARDS);

/** A calibration of another copy of the same model. */
let earlier: string;
const root = mkdtempSync(join(tmpdir(), "create-kv-scales-test-"));
beforeAll(async () => {
  const example = makeExample(root, SHARDS);
  expect(await runMain(calibrationOf(example))).toMatchObject({ exitCode: 0 });
  earlier = example.output;
});
afterAll(() => rmSync(root, { recursive: true }));

function expectNothingComputed({ stderr }: CliResult): void {
  expect(stderr).not.toMatch(/Tokenizing|Calibrating|at .*\.js:/);
}

describe("--force spares what is not ours, with exit 2", () => {
  const rows: [what: string, named: string, edit: (example: ExampleFolder) => void][] = [
    ["a file of the user's", "notes.txt", ({ output }) => writeFileSync(join(output, "notes.txt"), "mine")],
    ["an edited config.json", "config.json", ({ output }) => appendFileSync(join(output, "config.json"), "\n")],
    [
      "the only weights",
      SHARD,
      ({ output, model, root }) => {
        const other = makeExample(join(root, "other"), SHARDS);
        renameSync(model, join(root, "gone"));
        renameSync(other.model, model);
        for (const name of readdirSync(join(root, "gone"))) writeFileSync(join(root, "gone", name), "");
        // The shard of the result that no other name leads to.
        const path = join(output, SHARD);
        const bytes = readFileSync(path);
        renameSync(path, join(root, "shard"));
        writeFileSync(path, bytes);
      },
    ],
  ];

  test.each(rows)("%s", async (_what, named, edit) => {
    const example = makeExample(temporaryFolder(), SHARDS);
    copyResult(earlier, example);
    edit(example);
    const before = snapshot(example.root);
    const result = await runMain(calibrationOf(example, "--force"));
    expect(result).toMatchObject({ exitCode: 2, stdout: "" });
    expect(result.stderr).toContain(`${named} (`);
    expectNothingComputed(result);
    expect(snapshot(example.root)).toEqual(before);
  });

  test("a model in the output, and a model that was calibrated in place", async () => {
    const example = makeExample(temporaryFolder(), SHARDS);
    copyResult(earlier, example);
    renameSync(example.model, join(example.output, "model"));
    const inside = { ...example, model: join(example.output, "model") };
    const before = snapshot(example.root);
    expect(await runMain(calibrationOf(inside, "--force"))).toMatchObject({ exitCode: 2 });
    expect(await runMain(["convert", inside.model, "-o", example.output, "--format", "vllm", "--force"])).toMatchObject(
      {
        exitCode: 2,
      },
    );
    expect(snapshot(example.root)).toEqual(before);

    const inPlace = makeExample(join(example.root, "in-place"), SHARDS);
    expect(await runMain([inPlace.model, "--in-place", "--data", inPlace.prompts])).toMatchObject({ exitCode: 0 });
    const calibrated = snapshot(inPlace.model);
    const over = await runMain([inside.model, "-o", inPlace.model, "--force"]);
    expect(over).toMatchObject({ exitCode: 2 });
    expect(over.stderr).toContain("calibrated in place");
    expect(snapshot(inPlace.model)).toEqual(calibrated);
  });
});

/** Code that runs once in the program, before it links the first shard into its new folder. */
function beforeLinking(code: string): { readonly NODE_OPTIONS: string } {
  return preloading(`
    const fs = require("node:fs");
    if (process.send === undefined) {
      const { link } = fs.promises;
      let isDone = false;
      fs.promises.link = async (from, to) => {
        if (!isDone && String(to).endsWith(".safetensors")) { isDone = true; ${code} }
        return link(from, to);
      };
      require("node:module").syncBuiltinESMExports();
    }`);
}

/** Code that runs in the computing process, before its task. */
function beforeComputing(code: string): { readonly NODE_OPTIONS: string } {
  return preloading(`
    const fs = require("node:fs");
    if (process.send !== undefined) {
      const { on } = process;
      process.on = function (event, listener) {
        if (event !== "message") return on.call(this, event, listener);
        return on.call(this, event, (message) => {
          if (message.kind === "run") { ${code} }
          listener(message);
        });
      };
    }`);
}

/** Ways in which a file changes. */
const CHANGES: Readonly<Record<string, (path: string) => string>> = {
  replaced: (path) => `fs.copyFileSync(${path}, ${path} + ".x"); fs.renameSync(${path} + ".x", ${path});`,
  truncated: (path) => `fs.truncateSync(${path}, 4096);`,
  "rewritten with as many bytes": (path) =>
    `const bytes = fs.readFileSync(${path}); fs.writeFileSync(${path}, bytes.fill(0, bytes.length - 64));`,
  removed: (path) => `fs.rmSync(${path});`,
};

describe("an input that changes while it is used is exit 3, names the file, and the change is kept", () => {
  const rows = [
    ...Object.keys(CHANGES).map((change) => ["linking", SHARD, change] as const),
    ...["config.json", "tokenizer.json", INDEX_FILE].map((name) => ["linking", name, "replaced"] as const),
    ["computing", SHARD, "truncated"],
    ["computing", "config.json", "removed"],
  ] as const;

  /** Each change, and each kind of file. */
  const few = someOf(rows, ([when, name]) => when === "computing" || name === SHARD || name === "tokenizer.json");
  test.each(few)("before %s: %s is %s", async (when, name, change) => {
    const example = makeExample(temporaryFolder(), SHARDS);
    const target = { ...example, output: join(example.root, "a", "b", "output") };
    const path = join(example.model, name);
    const code = (CHANGES[change] ?? expect.fail(change))(JSON.stringify(path));
    const env = when === "linking" ? beforeLinking(code) : beforeComputing(code);
    const before = snapshot(example.model)[name];
    const result = await runCli(calibrationOf(target), { env });
    expect(result).toMatchObject({ exitCode: 3, stdout: "" });
    expect(result.stderr).toContain(path);
    // Parent folders that were made are gone, too.
    expect(readdirSync(example.root).sort()).toEqual(["model", "prompts.txt"]);
    const after = snapshot(example.model)[name];
    if (change !== "replaced") expect(after).not.toEqual(before);
    expect(after === undefined).toBe(change === "removed");
  });

  test("during a verification, which gives no verdict", async () => {
    const example = makeExample(temporaryFolder(), SHARDS);
    const path = join(example.model, SHARD);
    const env = beforeComputing((CHANGES.replaced ?? expect.fail())(JSON.stringify(path)));
    const args = ["verify", example.model, "--data", example.prompts, "--samples", "2"];
    const result = await runCli(args, { env });
    expect(result).toMatchObject({ exitCode: 3, stdout: "" });
    expect(result.stderr).toContain(path);
  });

  test.each(["config.json", INDEX_FILE])("during --in-place: %s", async (name) => {
    const example = makeExample(temporaryFolder(), SHARDS);
    const path = join(example.model, name);
    // The scales are in their file, and nothing else is changed yet.
    const env = preloading(`
      const fs = require("node:fs");
      if (process.send === undefined) {
        const { rm } = fs.promises;
        let calls = 0;
        fs.promises.rm = async (...args) => {
          if (++calls === 1) fs.writeFileSync(${JSON.stringify(path)}, fs.readFileSync(${JSON.stringify(path)}, "utf8") + "\\n\\n");
          return rm(...args);
        };
        require("node:module").syncBuiltinESMExports();
      }`);
    const text = readFileSync(path, "utf8");
    const result = await runCli([example.model, "--in-place", "--data", example.prompts], { env });
    expect(result).toMatchObject({ exitCode: 3, stdout: "" });
    expect(result.stderr).toContain(path);
    expect(readFileSync(path, "utf8")).toBe(`${text}\n\n`);
    expect(await runMain([example.model, "--in-place", "--force", "--data", example.prompts])).toMatchObject({
      exitCode: 0,
    });
  });
});

/** Runs the program as a user to whom permissions apply. */
function runAsUser(args: readonly string[]): Promise<CliResult> {
  if (process.getuid?.() !== 0) return runCli(args);
  return startProgram("setpriv", ["--reuid=65534", "--clear-groups", process.execPath, PROGRAM, ...args]).done;
}

describe("what would make writing fail is found before computing", () => {
  const rows: [what: string, exitCode: number, says: RegExp, prepare: (example: ExampleFolder) => string[]][] = [
    ["an output below a file", 7, /ENOTDIR/, ({ prompts }) => ["-o", join(prompts, "out")]],
    ["an output where no folder can be", 7, /could not be written/, () => ["-o", "/proc/x/y"]],
    ["a name that is too long", 7, /ENAMETOOLONG/, ({ root }) => ["-o", join(root, "x".repeat(300))]],
    [
      "a path that is too long for what is in it",
      7,
      /Choose a shorter name with -o/,
      ({ root }) => [
        "-o",
        join(
          root,
          ..."x"
            .repeat(18)
            .split("")
            .map((letter) => letter.repeat(223)),
        ),
      ],
    ],
    [
      "a link that leads nowhere as output",
      2,
      /leads nowhere/,
      ({ output }) => {
        symlinkSync("nowhere", output);
        return ["-o", output];
      },
    ],
    [
      "a link that leads nowhere in the model",
      3,
      /LICENSE: is a link that leads nowhere/,
      ({ model, output }) => {
        symlinkSync("../../blobs/gone", join(model, "LICENSE"));
        return ["-o", output];
      },
    ],
    [
      "a side file that cannot be read",
      3,
      /LICENSE: cannot be read/,
      ({ model, output }) => {
        writeFileSync(join(model, "LICENSE"), "MIT", { mode: 0 });
        return ["-o", output];
      },
    ],
    [
      "a folder that takes no files",
      7,
      /EACCES/,
      ({ root }) => {
        chmodSync(root, 0o555);
        return ["-o", join(root, "out")];
      },
    ],
    [
      "a model's folder that takes no files",
      7,
      /EACCES/,
      ({ model }) => {
        chmodSync(model, 0o555);
        return ["--in-place"];
      },
    ],
  ];

  test.each(rows)("%s: exit %i", async (_what, exitCode, says, prepare) => {
    const example = makeExample(temporaryFolder(), SHARDS);
    for (const folder of [example.root, example.model]) chmodSync(folder, 0o777);
    const args = prepare(example);
    const before = readdirSync(example.root);
    const result = await runAsUser([example.model, "--data", example.prompts, ...args]);
    expect(result.stderr).toMatch(says);
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expectNothingComputed(result);
    expect(readdirSync(example.root)).toEqual(before);
    chmodSync(example.root, 0o777);
  });

  test("a name of 255 bytes, though temporary names are longer, is none of it", async () => {
    const example = makeExample(temporaryFolder(), SHARDS);
    const output = join(example.root, "x".repeat(255));
    for (const force of [[], ["--force"]]) {
      expect(await runMain(calibrationOf({ ...example, output }, ...force))).toMatchObject({ exitCode: 0 });
    }
    expect(readdirSync(example.root).sort()).toEqual(["model", "prompts.txt", "x".repeat(255)]);
  });
});

test("links that lead out of the model's folder are not followed, with a warning; weights elsewhere are", async () => {
  const example = makeExample(temporaryFolder(), SHARDS);
  const secret = join(example.root, "secret");
  writeFileSync(secret, "key");
  symlinkSync(secret, join(example.model, "notes.txt"));
  symlinkSync("tokenizer.json", join(example.model, "tokenizer.copy.json"));
  mkdirSync(join(example.root, "disk"));
  renameSync(join(example.model, SHARD), join(example.root, "disk", SHARD));
  symlinkSync(join("..", "disk", SHARD), join(example.model, SHARD));
  const result = await runMain(calibrationOf(example));
  expect(result).toMatchObject({ exitCode: 0 });
  expect(result.stdout.replace(/\s+/g, " ")).toContain("notes.txt is a link that leads out of the model's folder");
  const names = readdirSync(example.output);
  expect(names).not.toContain("notes.txt");
  expect(names).toEqual(expect.arrayContaining(["tokenizer.copy.json", SHARD]));
});

test.each([1, SHARDS])("repeated --in-place gives the same bytes in every file: %i files", async (shards) => {
  const example = makeExample(temporaryFolder(), shards);
  const args = [example.model, "--in-place", "--format", "vllm", "--data", example.prompts];
  expect(await runMain(args)).toMatchObject({ exitCode: 0 });
  const first = snapshot(example.model);
  expect(await runMain([...args, "--force"])).toMatchObject({ exitCode: 0 });
  expect(snapshot(example.model)).toEqual(first);
});

test("two copies of a model give the same bytes in every file, wherever they lie", async () => {
  const example = makeExample(temporaryFolder(), SHARDS);
  linkSync(join(example.model, SHARD), join(example.root, "link"));
  expect(await runMain(calibrationOf(example))).toMatchObject({ exitCode: 0 });
  expect(snapshot(example.output)).toEqual(snapshot(earlier));
});

test("killed between two renames where folders cannot be exchanged: a run without --force brings the old result back", async () => {
  const example = makeExample(temporaryFolder(), SHARDS);
  copyResult(earlier, example);
  const old = snapshot(example.output);
  const env = preloading(`
    const fs = require("node:fs");
    if (process.send === undefined) {
      process.env.PATH = "/nonexistent";
      const { renameSync } = fs;
      fs.renameSync = (from, to) => {
        renameSync(from, to);
        process.kill(process.pid, "SIGKILL");
      };
      require("node:module").syncBuiltinESMExports();
    }`);
  expect(await runCli(calibrationOf(example, "--format", "vllm", "--force"), { env })).toMatchObject({
    signal: "SIGKILL",
  });
  expect(existsSync(example.output)).toBe(false);
  const again = await runMain(calibrationOf(example, "--format", "vllm"));
  expect(again).toMatchObject({ exitCode: 2 });
  expectNothingComputed(again);
  expect(snapshot(example.output)).toEqual(old);
  expect(readdirSync(example.root).sort()).toEqual(["model", "output", "prompts.txt"]);
});
