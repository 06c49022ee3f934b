// What a stranger meets at the command line: what the program says when it is called alone, when a word is mistyped, and on
// screens of any width. In this process: no checkpoint is computed.

import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { closestName } from "../../src/closest-name.js";
import { chooseModel } from "../../src/commands/model-argument.js";
import { EMBEDDED_EXAMPLE } from "../../src/pipeline/run-options.js";
import { TextOutput } from "../../src/report/text-output.js";
import { type CliResult, runMain, runMainInTerminal } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

/** Runs in an empty folder, and looks whether it still is. */
async function inEmptyFolder(run: () => Promise<CliResult>): Promise<CliResult & { readonly left: readonly string[] }> {
  const [folder, before] = [temporaryFolder(), process.cwd()];
  process.chdir(folder);
  const result = await run().finally(() => process.chdir(before));
  return { ...result, left: readdirSync(folder) };
}

describe("called alone", () => {
  test("where nobody can be asked, it says what it takes: exit 2, nothing written", async () => {
    const { exitCode, stdout, stderr, left } = await inEmptyFolder(() => runMain([]));
    expect({ exitCode, stdout, left }).toEqual({ exitCode: 2, stdout: "", left: [] });
    expect(stderr).toMatch(/^Error: Expected a model: .*hub id.*--example.*--help lists all options\.\n$/);
  });

  test.each(["", "n\n", "no\n", "what?\n"])(
    "in a terminal it says what it is, asks, and takes %j for no",
    async (typed) => {
      const { exitCode, stdout, stderr, left } = await inEmptyFolder(() => runMainInTerminal([], typed));
      expect({ exitCode, stdout, left }).toEqual({ exitCode: 0, stdout: "", left: [] });
      expect(stderr).toMatch(/^create-kv-scales measures [\s\S]*--example[\s\S]*--help/);
      expect(stderr).toContain("Write tiny-llama-FP8-KV now? [y/N] ");
    },
  );

  test.each([50, 80, 120])("on %d columns no line of it is wider", async (columns) => {
    const { stderr } = await runMainInTerminal([], "n\n", columns);
    const lines = stderr.split("Write tiny")[0]?.split("\n") ?? [];
    expect(lines.length).toBeGreaterThan(6);
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
  });

  test("a yes is the example, and so is --example, without a question", async () => {
    const stderr = new TextOutput(process.stderr);
    const asked: string[] = [];
    const ask = async (question: string) => asked.push(question) > 0;
    const quietly = { stderr: Object.assign(stderr, { write: () => {} }), ask };
    expect(await chooseModel(undefined, {}, quietly)).toBe(EMBEDDED_EXAMPLE);
    expect(asked).toHaveLength(1);
    expect(await chooseModel(undefined, { example: true }, quietly)).toBe(EMBEDDED_EXAMPLE);
    expect(await chooseModel("./mine", {}, quietly)).toBe("./mine");
    expect(asked).toHaveLength(1);
  });

  test.each([["--json"], ["--quiet"]])("with %s nobody is asked", async (flag) => {
    const { exitCode, left } = await inEmptyFolder(() => runMainInTerminal([flag], "y\n"));
    expect({ exitCode, left }).toEqual({ exitCode: 2, left: [] });
  });

  test("--example and a model are exit 2", async () => {
    const { exitCode, stderr } = await runMain(["--example", "./mine"]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("Choose one of --example and a model (./mine)");
  });
});

describe("a word that was mistyped", () => {
  test.each<[string, readonly string[], string]>([
    ["a command", ["inspct"], "Did you mean inspect?"],
    ["a command with its arguments", ["verfy", "x", "--html", "r.html"], "Did you mean verify?"],
    ["a command with two letters swapped", ["dfif", "a", "b"], "Did you mean diff?"],
    ["a command that was begun", ["arch"], "Did you mean architectures?"],
    ["a command in other letters", ["Verify", "x"], "Did you mean verify?"],
    ["a command for help", ["help", "verfy"], "Did you mean verify?"],
    ["an option", ["verify", "x", "--htlm", "r.html"], "(Did you mean --html?)"],
    ["a choice", ["x", "--format", "vlm"], "Did you mean vllm?"],
    ["a choice in capitals", ["x", "--format", "TGI"], "Did you mean tgi?"],
    ["a provider", ["x", "--provider", "cdua"], "Did you mean cuda?"],
    ["a provider to install", ["providers", "--install", "cude"], "Did you mean cuda?"],
    ["an FP8 format", ["x", "--dtype", "float8_e4m3"], "Did you mean float8_e4m3fn?"],
    ["an arm", ["verify", "x", "--arms", "16bit,fp8"], "Did you mean 16-bit?"],
    ["a baseline", ["verify", "x", "--baseline", "exat"], "Did you mean exact?"],
  ])("%s: exit 2, and what was meant", async (_what, args, suggestion) => {
    const { exitCode, stdout, stderr } = await inEmptyFolder(() => runMain(args));
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain(suggestion);
  });

  test.each(["gguf", "x", "llama", "my-model"])("what is near nothing gets no suggestion: %s", async (word) => {
    expect(closestName(word, ["tgi", "tgi-separate", "vllm", "inspect", "verify"])).toBeUndefined();
  });

  test("a folder of that name is a model", async () => {
    const { stderr } = await inEmptyFolder(async () => {
      mkdirSync("inspct");
      return await runMain(["inspct"]);
    });
    expect(stderr).not.toContain("Did you mean");
    expect(stderr).toContain("config.json");
  });
});

describe("help and version", () => {
  test.each([[["help"]], [["--help"]], [["-h"]]])("%j is the help of the program, exit 0", async (args) => {
    const { exitCode, stdout, stderr } = await runMain(args);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(/^Usage: create-kv-scales \[options\] <model>/);
    for (const word of ["inspect", "verify", "--example", "Exit codes:"]) expect(stdout).toContain(word);
  });

  test.each([[["help", "verify"]], [["verify", "--help"]]])("%j is the help of verify, exit 0", async (args) => {
    const { exitCode, stdout } = await runMain(args);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^Usage: create-kv-scales verify /);
  });

  test.each(["-v", "-V", "--version"])("%s is the version, exit 0", async (flag) => {
    const { exitCode, stdout } = await runMain([flag]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.each([50, 80, 120])("on %d columns no line of any help is wider", async (columns) => {
    for (const command of [[], ["verify"], ["inspect"], ["convert"], ["diff"], ["providers"], ["architectures"]]) {
      const { stdout } = await runMainInTerminal([...command, "--help"], "", columns);
      const wide = stdout.split("\n").filter((line) => line.length > columns);
      expect(wide).toEqual([]);
    }
  });
});

test("an error in a terminal is broken between words, and in a log is one line", async () => {
  const long = "no-such-folder/".repeat(5);
  const inTerminal = await runMainInTerminal(["inspect", long], "", 50);
  const inLog = await runMain(["inspect", long]);
  expect(
    inLog.stderr
      .trimEnd()
      .split("\n")
      .filter((line) => line.startsWith("Error: ")),
  ).toHaveLength(1);
  expect(inTerminal.stderr).toMatch(/Error:[\s\S]*\n {2}\S/);
  expect(existsSync(join(long))).toBe(false);
});

describe("a report that is printed", () => {
  test.each([
    [["--html", "-", "--junit", "-"], "--html - and --junit both write to standard output"],
    [["--markdown", "-", "--json"], "--markdown - and --json both write to standard output"],
    [["--html", "-", "-q"], "--html - and --quiet both write to standard output"],
  ])("%j would be two on one standard output: exit 2, at once", async (flags, message) => {
    const { exitCode, stderr } = await runMain(["verify", "nowhere", ...flags]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
  });
});
