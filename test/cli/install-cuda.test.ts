// `providers --install cuda`, end to end in a copy of the installed package: onnxruntime-node's own script downloads, from
// a host on this machine that is reached through a proxy.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Delivery, startNuget } from "../helpers/nuget-server.js";
import { preloading } from "../helpers/preload.js";
import { type CliResult, runMain, startProgram } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";
import { stageFiles, stageInstalled } from "../helpers/staged-package.js";

const PACKAGE = "node_modules/onnxruntime-node";
const LIBRARIES = `${PACKAGE}/bin/napi-v6/linux/x64`;
const BROKEN = 5;
const NOT_WRITTEN = 7;
const INTERRUPTED = 130;
/** Where nothing listens. */
const NO_PROXY_THERE = "127.0.0.1:9";

type Environment = Readonly<Record<string, string>>;

function stage(folder: string): string {
  stageFiles(folder);
  stageInstalled(folder);
  return folder;
}

/** A copy for all tests after which every file is as before. */
const unchanged = mkdtempSync(join(tmpdir(), "create-kv-scales-test-"));
let before: Readonly<Record<string, string>> = {};
afterAll(() => rmSync(unchanged, { recursive: true }));

function start(folder: string, env: Environment = {}): ReturnType<typeof startProgram> {
  const args = [join(folder, "bin/create-kv-scales.js"), "providers", "--install", "cuda"];
  // What a user's npm is configured with must not stop what the user asks for.
  return startProgram(process.execPath, args, { cwd: folder, env: { ONNXRUNTIME_NODE_INSTALL: "skip", ...env } });
}

const install = (folder: string, env: Environment): Promise<CliResult> => start(folder, env).done;

describe.skipIf(process.platform !== "linux" || process.arch !== "x64")("providers --install cuda", () => {
  beforeAll(() => {
    before = snapshot(join(stage(unchanged), PACKAGE));
  });

  test("says the size, downloads through the proxy, and installs; then there is nothing to do", async () => {
    const folder = stage(temporaryFolder());
    const env = await startNuget("whole");
    const { exitCode, stdout, stderr } = await install(folder, env);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 0,
      stderr: expect.stringMatching(
        /^Downloads CUDA's libraries .* from api\.nuget\.org: about \d+ MB, \d+ MB on disk/,
      ),
    });
    expect(stdout).toMatch(/^Installed 3 libraries \(\d+ B\) in\n {2}\S+\/linux\/x64\n/);
    // These are no libraries that a loader takes: it must say so, not pretend that CUDA works.
    expect(stdout).toMatch(/^They cannot be loaded yet: .*(file too short|invalid ELF)/m);
    expect(readdirSync(join(folder, LIBRARIES)).filter((name) => name.includes("providers"))).toEqual([
      "libonnxruntime_providers_cuda.so",
      "libonnxruntime_providers_shared.so",
      "libonnxruntime_providers_tensorrt.so",
    ]);
    expect(readdirSync(join(folder, PACKAGE)).filter((name) => name.startsWith("."))).toEqual([]);

    const again = await install(folder, { HTTPS_PROXY: NO_PROXY_THERE });
    expect(again).toMatchObject({ exitCode: 0, stderr: "" });
    expect(again.stdout).toMatch(/^CUDA's libraries are installed already/);
  });

  test.each<[Delivery | "unreachable", RegExp]>([
    ["unreachable", /api\.nuget\.org could not be reached \(connect ECONNREFUSED .*HTTPS_PROXY=http:\/\/host:port/],
    ["missing", /download from api\.nuget\.org failed: .*HTTP status code = 404/],
    ["cut-short", /api\.nuget\.org .*(not complete|failed|could not be reached)/],
    ["of-something-else", /not complete \(libonnxruntime_providers_\w+\.so is no library/],
  ])("a download that is %s: exit 5, what to do, and every file as before", async (delivery, message) => {
    const env = delivery === "unreachable" ? { HTTPS_PROXY: NO_PROXY_THERE } : await startNuget(delivery);
    const { exitCode, stdout, stderr } = await install(unchanged, env);
    expect({ exitCode, stdout }).toEqual({ exitCode: BROKEN, stdout: "" });
    expect(stderr).toMatch(new RegExp(`^Error: CUDA was not installed: .*${message.source}.*`, "m"));
    expect(stderr).toContain("Nothing was changed.");
    expect(snapshot(join(unchanged, PACKAGE))).toEqual(before);
  });

  test("an interrupt ends it, and every file is as before", async () => {
    let interrupt = (): void => undefined;
    const env = await startNuget("never-ending", () => interrupt());
    const { child, done } = start(unchanged, env);
    onTestFinished(() => {
      child.kill("SIGKILL");
    });
    interrupt = () => child.kill("SIGINT");
    expect(await done).toMatchObject({ exitCode: INTERRUPTED, stdout: "" });
    expect(snapshot(join(unchanged, PACKAGE))).toEqual(before);
  });

  test("what a killed run has left is removed by the next", async () => {
    const dead = startProgram(process.execPath, ["-e", ""]);
    await dead.done;
    const left = join(unchanged, PACKAGE, `.cuda-download-${dead.child.pid}-abc`);
    mkdirSync(left);
    await install(unchanged, { HTTPS_PROXY: NO_PROXY_THERE });
    expect(existsSync(left)).toBe(false);
  });

  // Root may write everywhere, so the refusal is imitated.
  test.each([
    ["EACCES", /cannot be written by this user .*: sudo \S+ \S+\/bin\/create-kv-scales\.js providers --install cuda$/m],
    ["EROFS", /read-only file system\. Install CUDA when the image is built/],
    ["ENOSPC", /the disk is full\. .*About \d+ MB are needed/],
  ])("a folder that cannot be written (%s): exit 7 and what to do", async (code, message) => {
    const env = preloading(`
      const fs = require("node:fs");
      fs.mkdtempSync = () => { throw Object.assign(new Error("refused"), { code: ${JSON.stringify(code)} }); };
      require("node:module").syncBuiltinESMExports();`);
    const { exitCode, stdout, stderr } = await install(unchanged, env);
    expect({ exitCode, stdout }).toEqual({ exitCode: NOT_WRITTEN, stdout: "" });
    expect(stderr).toMatch(message);
  });

  test.each([
    [["--install", "dml"], /Allowed choices are cuda/],
    [["--install"], /argument missing/],
    [["--install", "cuda", "--json"], /cannot be used with option '--json'/],
  ])("providers %j: exit 2", async (args, message) => {
    const { exitCode, stderr } = await runMain(["providers", ...args]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(message);
  });
});
