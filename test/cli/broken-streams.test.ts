// Standard output and standard error that are full, closed, slow or not read, and a current folder that is gone: no stack
// trace, nothing lost, and an exit code that tells the truth. Through a shell, as a user redirects.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { makeExample } from "../helpers/example-checkpoint.js";
import { type CliResult, PROGRAM, startProgram } from "../helpers/run-cli.js";

const root = mkdtempSync(join(tmpdir(), "create-kv-scales-streams-"));
const { model, output, prompts } = makeExample(root);
const { model: loud } = makeExample(join(root, "loud"));
const configPath = join(loud, "config.json");
/** More than a pipe holds. */
const LONG_NAME = "x".repeat(300_000);
writeFileSync(configPath, JSON.stringify({ ...JSON.parse(readFileSync(configPath, "utf8")), model_type: LONG_NAME }));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** `$CKS` is the program, `$M` a model, `$L` one of which JSON tells more than a pipe holds. */
function shell(script: string): Promise<CliResult> {
  const env = { CKS: `${process.execPath} ${PROGRAM}`, M: model, L: loud, O: output, P: prompts, ROOT: root };
  return startProgram("bash", ["-c", `set -o pipefail; cd $ROOT; ${script}`], { env }).done;
}

const NO_TRACE = /^(?!.*\n? {4}at )/s;

describe.runIf(process.platform === "linux")("through a shell", () => {
  describe("a result that is on standard output alone and cannot be written is exit 7, said in one line", () => {
    test.each([
      ["inspect", "$CKS inspect $M"],
      ["inspect --json", "$CKS inspect --json $M"],
      ["--help", "$CKS --help"],
      ["verify --json", "$CKS verify --samples 1 --sequence-length 32 --allow-inconclusive --json"],
    ])("%s on a full device", async (_name, command) => {
      const { exitCode, stderr } = await shell(`(${command}) > /dev/full`);
      expect(stderr).toMatch(NO_TRACE);
      expect({ exitCode, errors: stderr.match(/^Error: /gm)?.length }).toEqual({ exitCode: 7, errors: 1 });
    });

    test("on a disk that takes a part of it", async () => {
      const { exitCode, stderr } = await shell("ulimit -f 4; $CKS inspect --json $L > part.json");
      expect(exitCode).toBe(7);
      expect(stderr).toMatch(/Error: Standard output: the result cannot be written: EFBIG/);
      expect(statSync(join(root, "part.json")).size).toBe(4096);
    });
  });

  test("a calibration whose report cannot be written is exit 7, and the folder that it names is there", async () => {
    const { exitCode, stderr } = await shell("$CKS $M -o $O --data $P > /dev/full");
    expect(exitCode).toBe(7);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^Error: Standard output: .* The result is in .*\.$/);
    expect(readdirSync(output)).toContain("kv_scales.json");
  });

  test("a failed verdict is exit 6 on a full device, and both are said", async () => {
    const { exitCode, stderr } = await shell(
      "$CKS verify --samples 8 --sequence-length 32 --max-kl 1e-9 -q > /dev/full",
    );
    expect({ exitCode, errors: stderr.match(/^Error: (?:Verification|Standard)/gm) }).toEqual({
      exitCode: 6,
      errors: ["Error: Verification", "Error: Standard"],
    });
  });

  test("a failed inspection is exit 3 on a full device as well", async () => {
    const { exitCode, stderr } = await shell("$CKS inspect missing > /dev/full");
    expect({ exitCode, errors: stderr.match(/^Error: /gm)?.length }).toEqual({ exitCode: 3, errors: 1 });
  });

  test.each([
    ["a reader that has gone", "$CKS inspect --json $L | true", 0],
    ["a reader that leaves in the middle", "$CKS inspect --json $L | head -c 100000 | wc -c", 0],
    ["a closed standard output, which Node replaces with /dev/null", "$CKS inspect $M >&-", 0],
    ["a full standard error", "$CKS inspect $M 2>/dev/full", 0],
    ["a closed standard error", "$CKS inspect $M 2>&-", 0],
    ["an error that a full standard error does not take", "$CKS inspect missing 2>/dev/full", 3],
    ["an error that a closed standard error does not take", "$CKS inspect missing 2>&-", 3],
    ["wrong usage that a full standard error does not take", "$CKS --samples x 2>/dev/full", 2],
    ["both full", "$CKS inspect $M >/dev/full 2>/dev/full", 7],
    ["all closed", "$CKS inspect missing <&- >&- 2>&-", 3],
  ])("%s", async (_name, command, expected) => {
    const { exitCode, stderr } = await shell(command);
    expect(stderr).toMatch(NO_TRACE);
    expect(stderr).not.toContain("bug");
    expect(exitCode).toBe(expected);
  });

  test("a long result arrives whole at a slow reader", async () => {
    const { exitCode, stdout } = await shell("$CKS inspect --json $L | (sleep 1; cat)");
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ model_type: LONG_NAME });
  });

  test("Ctrl-C ends the program while a reader does not read: exit 130", async () => {
    const child = spawn(process.execPath, [PROGRAM, "inspect", "--json", loud], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    child.stdout.pause();
    await new Promise((resolve) => child.stdout.once("readable", resolve));
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    child.stdout.destroy();
  });

  describe("in a current folder that has been deleted", () => {
    const GONE = "mkdir gone && cd gone && rmdir $ROOT/gone && ";
    const CLEAR = /^Error: Here the current folder has been deleted.* whole paths\.$/m;

    test.each([
      ["a relative model", "$CKS inspect m"],
      ["a relative output", "$CKS $M -o o --data $P"],
      ["the default output of the example", "$CKS --example"],
      ["a relative report", "$CKS verify $M --html r.html"],
    ])("%s is wrong usage", async (_name, command) => {
      const { exitCode, stdout, stderr } = await shell(GONE + command);
      expect(stderr).toMatch(CLEAR);
      expect(stderr).toMatch(NO_TRACE);
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    });

    test("whole paths work, computing processes too", async () => {
      const { exitCode } = await shell(`${GONE}$CKS $M -o $ROOT/whole --data $P -q && $CKS inspect $ROOT/whole`);
      expect(exitCode).toBe(0);
      expect(existsSync(join(root, "whole/kv_scales.json"))).toBe(true);
    });
  });
});
