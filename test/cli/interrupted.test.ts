// Ctrl-C, what `kill` sends and the end of the terminal, at any moment of a run: exit code 130 and one line of error, or a
// whole result where it came too late; never anything between, and no process left. How many moments are tried,
// INTERRUPTED_MOMENTS says: CONTRIBUTING.md.

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { seededRandom } from "../helpers/broken-checkpoints.js";
import { childrenOf, HAS_PROC } from "../helpers/child-processes.js";
import { calibrationOf, makeExample } from "../helpers/example-checkpoint.js";
import { HOSTILE_TEMPLATES } from "../helpers/hostile-checkpoints.js";
import { tries } from "../helpers/how-much.js";
import { type CliResult, runCli, startCli } from "../helpers/run-cli.js";
import { snapshot, temporaryFolder } from "../helpers/run-cli-folders.js";

const COUNT = Number(process.env.INTERRUPTED_MOMENTS ?? tries({ few: 6, all: 30 }));
const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
const random = seededRandom(13);
const MOMENTS = Array.from({ length: COUNT }, (_, index) => ({
  signal: SIGNALS[index % SIGNALS.length] ?? "SIGINT",
  part: (index + random()) / COUNT,
}));

let runMs = 0;
let whole: Readonly<Record<string, string>> = {};
beforeAll(async () => {
  const root = mkdtempSync(join(tmpdir(), "kv-scales-interrupted-"));
  const example = makeExample(root);
  const start = performance.now();
  expect(await runCli(calibrationOf(example))).toMatchObject({ exitCode: 0 });
  runMs = performance.now() - start;
  whole = snapshot(example.output);
  rmSync(root, { recursive: true });
});

describe("a signal", () => {
  test.each(MOMENTS)("$signal after $part of a run", async ({ signal, part }) => {
    const example = makeExample(temporaryFolder());
    const { child, done } = startCli(calibrationOf(example));
    await sleep(part * runMs);
    child.kill(signal);
    const result = await done;
    if (existsSync(example.output)) {
      expect(result.exitCode).toBe(0);
      expect(snapshot(example.output)).toEqual(whole);
      expect(readdirSync(example.root).sort()).toEqual(["model", "output", "prompts.txt"]);
    } else {
      expectInterrupted(result, signal);
      expect(readdirSync(example.root).sort()).toEqual(["model", "prompts.txt"]);
    }
    if (HAS_PROC) await expect.poll(() => childrenOf(child.pid)).toEqual([]);
  });

  test.each(SIGNALS)("%s ends a chat template that would not end", async (signal) => {
    const { child, done } = await startEndless();
    const begin = performance.now();
    child.kill(signal);
    expectInterrupted(await done, signal);
    expect(performance.now() - begin).toBeLessThan(2000);
    if (HAS_PROC) await expect.poll(() => childrenOf(child.pid)).toEqual([]);
  });

  test("sent to the whole process group, as a terminal does it, is no error of a child", async () => {
    const { child, done } = await startEndless();
    for (const pid of HAS_PROC ? childrenOf(child.pid) : []) process.kill(pid, "SIGINT");
    child.kill("SIGINT");
    expectInterrupted(await done, "SIGINT");
  });

  test("with --json is said on stdout, too", async () => {
    const { child, done } = await startEndless("--json");
    child.kill("SIGINT");
    const { exitCode, stdout } = await done;
    expect(exitCode).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ error: { kind: "InterruptedError", exit_code: 130 } });
  });
});

test.skipIf(!HAS_PROC)("when the program is killed, a template that would not end is ended, too", async () => {
  const { child, done } = await startEndless();
  expect(childrenOf(child.pid, "tokenizer")).toHaveLength(1);
  child.kill("SIGKILL");
  await done;
  await expect.poll(() => childrenOf(child.pid), { timeout: 3000 }).toEqual([]);
});

async function startEndless(...more: readonly string[]) {
  const example = makeExample(temporaryFolder());
  writeFileSync(join(example.model, "chat_template.jinja"), HOSTILE_TEMPLATES[0]?.template ?? "");
  const data = join(example.root, "p.jsonl");
  writeFileSync(data, JSON.stringify({ messages: [{ role: "user", content: "x" }] }));
  const started = startCli(calibrationOf(example, "--data", data, ...more));
  onTestFinished(() => void started.child.kill("SIGKILL"));
  let progress = "";
  started.child.stderr?.on("data", (chunk: Buffer) => {
    progress += chunk;
  });
  await expect.poll(() => progress, { timeout: 30_000 }).toContain("Tokenizing");
  await sleep(500);
  return started;
}

/** Before Node has begun to read the program, the signal's own action ends it; shells show 128 and its number then. */
function expectInterrupted({ exitCode, signal, stdout, stderr }: CliResult, sent: NodeJS.Signals): void {
  expect(stdout).toBe("");
  if (signal !== null) {
    expect({ signal, stderr }).toEqual({ signal: sent, stderr: "" });
    return;
  }
  expect(exitCode).toBe(130);
  expect(stderr.match(/^Error: .*$/gm)).toEqual(["Error: Interrupted: nothing was written."]);
}
