// Names and values that a user, a script or a checkpoint brings, on their way into messages: one line, nothing raw.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { makeExample } from "../helpers/example-checkpoint.js";
import { runMain, withoutTimes } from "../helpers/run-cli.js";
import { HOSTILE_TEXTS, misleadingIn } from "../report/hostile-texts.js";

const root = mkdtempSync(join(tmpdir(), "create-kv-scales-names-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** What a program can be called with: no NUL. */
const ARGUMENTS = Object.entries(HOSTILE_TEXTS).map(([name, text]) => [name, text.replaceAll("\0", "\u0001")] as const);

/** An error in so many lines, each of a length that a person reads. */
function expectLines(stderr: string, count: number): void {
  expect(misleadingIn(stderr)).toEqual([]);
  expect(stderr.trimEnd().split("\n")).toHaveLength(count);
  expect(stderr.length).toBeLessThan(4300);
}

describe.each(ARGUMENTS)("a text that %s", (_what, text) => {
  test.each([
    ["a model", ["inspect", `/missing/${text}`], 3],
    ["an option", ["inspect", `--${text}`], 2],
    ["a number", ["--samples", text], 2],
    ["a choice", ["--format", text], 2],
    ["the name of a report", ["verify", "--html", `/missing/${text}`], 7],
  ])("is shown on one line where it is %s", async (_where, args, expected) => {
    const { exitCode, stdout, stderr } = await runMain(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: expected, stdout: "" });
    // commander adds a line of its own: which option lists the others.
    expectLines(withoutTimes(stderr).replace("Reading the checkpoint's headers\n", ""), expected === 2 ? 2 : 1);
  });

  test("is shown where config.json has it", async () => {
    const { model } = makeExample(mkdtempSync(join(root, "m-")));
    const path = join(model, "config.json");
    const config = JSON.parse(readFileSync(path, "utf8")) as object;
    writeFileSync(path, JSON.stringify({ ...config, model_type: text, quantization_config: { quant_method: text } }));
    const inspected = await runMain(["inspect", model]);
    expect(misleadingIn(inspected.stdout + inspected.stderr)).toEqual([]);
    expect(inspected.stdout).not.toMatch(/^(FAKE|Problem: FAKE)/m);
    const calibrated = await runMain([model, "-o", join(root, "o")]);
    expect(calibrated.exitCode).toBe(4);
    expectLines(withoutTimes(calibrated.stderr).replaceAll(/^(Reading|Tokenizing).*\n/gm, ""), 1);
  });
});

test("the folder that --quiet prints is shown on one line", async () => {
  const { model, prompts } = makeExample(join(root, "quiet"));
  const folder = join(root, "a\u001B[2J\nb");
  mkdirSync(folder);
  const { exitCode, stdout } = await runMain([model, "-o", join(folder, "o"), "--data", prompts, "-q"]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${join(root, "a\\x1b[2J\\nb/o")}\n` });
});
