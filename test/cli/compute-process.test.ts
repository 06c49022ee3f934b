// Measuring runs in a process of its own: what becomes of it, and of the program, when either of them dies.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { shape } from "../../bench/checkpoint-shapes.js";
import { makeRandomCheckpoint } from "../../bench/random-checkpoint.js";
import { childrenOf } from "../helpers/child-processes.js";
import { PROGRAM, startCli, startProgram } from "../helpers/run-cli.js";

let root: string;
let model: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "kv-scales-process-"));
  model = join(root, "model");
  // Large enough that measuring takes seconds.
  await makeRandomCheckpoint(model, shape(768, 2048, 8, 12, 4, 4096));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe.skipIf(process.platform !== "linux")("the computing process (found through /proc, so Linux only)", () => {
  test("when it is killed, the program says so, exits with 5 and leaves nothing behind", async () => {
    const { done, measuring } = await startMeasuring();
    process.kill(measuring, "SIGKILL");
    const { exitCode, stderr } = await done;
    expect(exitCode).toBe(5);
    expect(stderr).toMatch(/Error: The computing process was killed by SIGKILL\. .*out of memory/);
    expect(await readdir(root)).toEqual(["model"]);
  });

  test("when it is killed while it generates, the advice is about that", async () => {
    const generating = ["verify", model, "--samples", "1", "--sequence-length", "32", "--generate"];
    const { done, measuring } = await startMeasuring(generating, "Generating");
    process.kill(measuring, "SIGKILL");
    const { exitCode, stderr } = await done;
    expect(exitCode).toBe(5);
    expect(stderr).toMatch(/was killed by SIGKILL\. .*out of memory: leave out --generate/);
  });

  test("when the program is killed, it ends too, in the midst of computing", async () => {
    const { child, done, measuring } = await startMeasuring();
    child.kill("SIGKILL");
    await done;
    await expect.poll(() => isRunning(measuring), { timeout: 2000 }).toBe(false);
    expect(await readdir(root)).toEqual(["model"]);
  });

  test("an interrupt does not wait for the batch that is being computed", async () => {
    const { child, done } = await startMeasuring();
    const start = performance.now();
    child.kill("SIGINT");
    expect((await done).exitCode).toBe(130);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

const canBind = process.platform === "linux" && spawnSync("taskset", ["--version"]).status === 0;
describe.skipIf(!canBind || availableParallelism() < 2)("where the program may use one processor of several", () => {
  test("no thread leaves it", async () => {
    const [processor = ""] = /(?<=^Cpus_allowed_list:\s*)\d+/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    const program = [process.execPath, PROGRAM, model, "-o", join(root, "bound")];
    const started = startProgram("taskset", ["-c", processor, ...program]);
    const { done, measuring } = await whenComputing(started, "Calibrating");
    const threads = readdirSync(`/proc/${measuring}/task`);
    const allowed = threads.map((thread) => readFileSync(`/proc/${measuring}/task/${thread}/status`, "utf8"));
    process.kill(measuring, "SIGKILL");
    await done;
    expect(new Set(allowed.map((status) => /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1]))).toEqual(
      new Set([processor]),
    );
  });
});

/** Starts the program and waits until its second process computes. @param announced what is printed by then */
async function startMeasuring(args = [model, "-o", join(root, "out")], announced = "Calibrating") {
  return await whenComputing(startCli(args), announced);
}

async function whenComputing({ child, done }: ReturnType<typeof startCli>, announced: string) {
  onTestFinished(() => void child.kill("SIGKILL"));
  let progress = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    progress += chunk;
  });
  await expect.poll(() => progress, { timeout: 30_000 }).toContain(announced);
  const [measuring = 0] = childrenOf(child.pid, "compute");
  await sleep(50);
  return { child, done, measuring };
}

/** A process that has ended stays in the list until its parent asks for its exit code: it is not running. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
