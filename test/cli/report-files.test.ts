// Files that `verify` writes beside its result: what cannot or must not be written is refused before anything is computed,
// and what is written is whole or as it was.

import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { planReportFiles, refuseInputs, writeReportFiles } from "../../src/commands/report-files.js";
import { OutputWriteError, UsageError } from "../../src/errors.js";
import { verifyHtml } from "../../src/report/verify-html.js";
import { verifyJunit } from "../../src/report/verify-junit.js";
import { verifyMarkdown } from "../../src/report/verify-markdown.js";
import { PROGRAM, runCli, startProgram } from "../helpers/run-cli.js";
import { snapshot } from "../helpers/run-cli-folders.js";
import { ORIGIN, resultOf } from "../report/verify-fixture.js";

const root = mkdtempSync(join(tmpdir(), "create-kv-scales-reports-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const onLinux = process.platform === "linux";
const isRoot = process.getuid?.() === 0;

const at = (...names: string[]) => join(root, ...names);
const put = (path: string, text = "x") => writeFileSync(path, text);
for (const folder of ["m", "data", "folder", "read-only", "blobs"]) mkdirSync(at(folder));
for (const file of ["m/config.json", "m/README.md", "data/a.jsonl", "file", "blobs/0123", "old.html"]) put(at(file));
symlinkSync(at("blobs/0123"), at("m/model.safetensors"));
linkSync(at("m/config.json"), at("hard-link.html"));
symlinkSync(at("m/config.json"), at("link.html"));
symlinkSync(at("m"), at("link-to-m"));
symlinkSync(at("nowhere/at/all"), at("dangling.html"));
symlinkSync(at("old.html"), at("link-to-old.html"));
put(at("m/report.html"), verifyHtml(resultOf(), ORIGIN));
put(at("m/report.md"), verifyMarkdown(resultOf(), 1));
put(at("m/report.xml"), verifyJunit(resultOf(), 1));
chmodSync(at("read-only"), 0o555);
/** In a folder of its own: whoever reads every file of the other would wait for a writer. */
const pipes = mkdtempSync(join(tmpdir(), "create-kv-scales-pipes-"));
afterAll(() => rmSync(pipes, { recursive: true, force: true }));
if (onLinux) execFileSync("mkfifo", [join(pipes, "fifo")]);

const htmlAt = (path: string) => ({ option: "--html", path, textOf: (text: string) => text });
async function plan(...paths: string[]) {
  const files = await planReportFiles(paths.map(htmlAt));
  await refuseInputs(files, [at("m"), at("data"), at("missing")]);
  return files;
}

describe("a place where no report can be is refused before any work", () => {
  test.each<[string, string, new (message: string) => Error, RegExp]>([
    ["a folder that is missing", at("missing/r.html"), OutputWriteError, /cannot be written: ENOENT/],
    ["a file as a folder", at("file/r.html"), OutputWriteError, /cannot be written: ENOTDIR/],
    ["a name that is too long", at("x".repeat(300)), OutputWriteError, /cannot be written: ENAMETOOLONG/],
    ["a link to nothing", at("dangling.html"), OutputWriteError, /cannot be written: ENOENT/],
    ["a folder", at("folder"), UsageError, /is a folder/],
    ["what ends as a folder", `${at("new")}/`, UsageError, /names a folder/],
    ["config.json of the model", at("m/config.json"), UsageError, /is a file of .*m, which is an input/],
    ["the model's README.md", at("m/README.md"), UsageError, /is a file of .*m, which is an input/],
    ["a shard behind a link", at("m/model.safetensors"), UsageError, /is a file of .*m, which is an input/],
    ["the shard's own bytes elsewhere", at("blobs/0123"), UsageError, /is a file of .*m, which is an input/],
    ["a hard link of a model's file", at("hard-link.html"), UsageError, /is a file of .*m, which is an input/],
    ["a link to a model's file", at("link.html"), UsageError, /is a file of .*m, which is an input/],
    ["a model's file by another way", at("link-to-m/config.json"), UsageError, /is a file of .*m, which is an input/],
    ["a new name that engines look for", at("m/tokenizer.json"), UsageError, /would be among the files of .*m/],
    ["new prompts", at("data/new.txt"), UsageError, /would be among the files of .*data/],
    ["the prompts", at("data/a.jsonl"), UsageError, /is a file of .*data, which is an input/],
  ])("%s", async (_what, path, kind, message) => {
    const before = snapshot(root);
    await expect(plan(path)).rejects.toThrow(message);
    await expect(plan(path)).rejects.toThrow(kind);
    expect(snapshot(root)).toEqual(before);
  });

  test.runIf(onLinux).each([
    ["a FIFO", () => join(pipes, "fifo"), /is a device, a pipe or a socket/],
    ["a device", () => "/dev/null", /is a device, a pipe or a socket/],
    ["a file system that has no files", () => "/proc/r.html", /cannot be written/],
  ])("%s", async (_what, path, message) => {
    await expect(plan(path())).rejects.toThrow(message);
  });

  test.skipIf(isRoot)("a folder that is read-only", async () => {
    await expect(plan(at("read-only/r.html"))).rejects.toThrow(/cannot be written: EACCES/);
  });

  test.each([
    ["the same path", "new.html", "new.html"],
    ["one path in two forms", "new.html", "folder/../new.html"],
    ["a file and a link to it", "old.html", "link-to-old.html"],
  ])("two reports with one name: %s", async (_what, first, second) => {
    await expect(plan(at(first), `${root}/${second}`)).rejects.toThrow(/both name/);
  });
});

describe("what may be written", () => {
  test.each([
    ["a new file", at("new.html")],
    ["a file that is there", at("old.html")],
    ["a link to one, which stays a link", at("link-to-old.html")],
    ["a new report beside the model", at("m/new.html")],
    ["a new report beside the prompts", at("data/new.md")],
    ...["html", "md", "xml"].map((ending) => [
      `an earlier report beside the model: ${ending}`,
      at(`m/report.${ending}`),
    ]),
  ])("%s", async (_what = "", path = "") => {
    expect(await writeReportFiles(await plan(path), "new text")).toEqual([]);
    expect(readFileSync(path, "utf8")).toBe("new text");
    expect(readdirSync(root).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("one that fails keeps no other from being written", async () => {
    mkdirSync(at("gone"));
    const files = await plan(at("gone/a.html"), at("b.html"), at("gone/c.html"));
    rmSync(at("gone"), { recursive: true });
    const failures = await writeReportFiles(files, "text");
    expect(failures.map(({ message }) => /a\.html|c\.html/.exec(message)?.[0])).toEqual(["a.html", "c.html"]);
    expect(failures.every((failure) => failure instanceof OutputWriteError)).toBe(true);
    expect(readFileSync(at("b.html"), "utf8")).toBe("text");
  });

  test("what is appended to stays as it was before", async () => {
    const path = at("summary.md");
    put(path, "before\n");
    const files = await planReportFiles([{ ...htmlAt(path), option: "GITHUB_STEP_SUMMARY", appends: true }]);
    appendFileSync(path, "meanwhile\n");
    expect(await writeReportFiles(files, "text\n")).toEqual([]);
    expect(readFileSync(path, "utf8")).toBe("before\nmeanwhile\ntext\n");
  });
});

describe("the program", () => {
  const FEW = ["--samples", "1", "--sequence-length", "32"];

  test("refuses at once, with nothing computed and nothing printed", async () => {
    const file = at("r.html");
    const { exitCode, stdout, stderr } = await runCli(["verify", ...FEW, "--html", file, "--junit", file]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toBe(`Error: --html and --junit both name ${file}: give each a file of its own\n`);
  });

  test("does not write its summary where a report goes", async () => {
    const file = at("both.md");
    const { exitCode, stderr } = await runCli(["verify", ...FEW, "--markdown", file], {
      env: { GITHUB_STEP_SUMMARY: file },
    });
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^Error: --markdown and GITHUB_STEP_SUMMARY both name /);
  });

  test.runIf(onLinux)(
    "on a full disk leaves earlier reports as they were, prints the verdict, and is exit 7",
    async () => {
      const folder = at("full");
      mkdirSync(folder);
      put(join(folder, "r.html"), "earlier");
      const earlier = "earlier\n".repeat(380);
      put(join(folder, "summary.md"), earlier);
      // No file may grow beyond 3 KiB, which the XML fits into.
      const script = `ulimit -f 3; ${process.execPath} ${PROGRAM} verify ${FEW.join(" ")} -q --allow-inconclusive --html r.html --junit r.xml`;
      const env = { GITHUB_STEP_SUMMARY: join(folder, "summary.md") };
      const { exitCode, stdout, stderr } = await startProgram("bash", ["-c", script], { cwd: folder, env }).done;
      expect({ exitCode, stdout }).toEqual({ exitCode: 7, stdout: "inconclusive\n" });
      expect(stderr.match(/^Error: (\S+)/gm)).toEqual(["Error: --html", "Error: GITHUB_STEP_SUMMARY"]);
      expect(readdirSync(folder)).toEqual(["r.html", "r.xml", "summary.md"]);
      expect(readFileSync(join(folder, "r.html"), "utf8")).toBe("earlier");
      expect(readFileSync(join(folder, "summary.md"), "utf8")).toBe(earlier);
      expect(readFileSync(join(folder, "r.xml"), "utf8")).toMatch(/<\/testsuites>\n$/);
    },
  );
});
