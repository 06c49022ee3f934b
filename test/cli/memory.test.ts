// Peak memory of the built program: of all its processes, as the kernel counts it.

import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { shape } from "../../bench/checkpoint-shapes.js";
import { makeRandomCheckpoint } from "../../bench/random-checkpoint.js";
import { startCli } from "../helpers/run-cli.js";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "kv-scales-memory-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

test.skipIf(process.platform !== "linux")("peak memory does not grow with the number of layers", async () => {
  const [shallow, deep] = [await randomCheckpoint(4), await randomCheckpoint(24)];
  // When garbage is collected depends on what else the machine does, and late collection only ever adds: the least counts.
  let [leastShallow, leastDeep] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let run = 0; run < RUNS && !(leastDeep / leastShallow < LARGEST_GROWTH); run++) {
    leastShallow = Math.min(leastShallow, await peakMemory(shallow));
    leastDeep = Math.min(leastDeep, await peakMemory(deep));
  }
  // 20 more layers are 240 MB of weights in bf16 and 480 MB in float32.
  expect(leastDeep / leastShallow).toBeLessThan(LARGEST_GROWTH);
});

const RUNS = 3;
const LARGEST_GROWTH = 1.15;

async function randomCheckpoint(layers: number): Promise<string> {
  const model = join(root, `layers-${layers}`);
  await makeRandomCheckpoint(model, shape(768, 2048, layers, 12, 4, 4096));
  return model;
}

/** The sum of the peaks of the program and of its other processes, in kB. */
async function peakMemory(model: string): Promise<number> {
  const few = ["--samples", "4", "--sequence-length", "128"];
  const { child, done } = startCli([model, ...few, "--provider", "cpu", "--force", "--quiet"]);
  const pid = child.pid ?? 0;
  const peaks = new Map<number, number>();
  let running = true;
  const finished = done.then((result) => {
    running = false;
    return result;
  });
  while (running) {
    for (const process of [pid, ...childrenOf(pid)])
      peaks.set(process, Math.max(peaks.get(process) ?? 0, peakOf(process)));
    await sleep(10);
  }
  expect((await finished).exitCode).toBe(0);
  // The program, the process that measures and the one that tokenizes; and what exchanges two folders, if it is seen.
  expect(peaks.size).toBeGreaterThanOrEqual(3);
  return [...peaks.values()].reduce((sum, peak) => sum + peak, 0);
}

/** Peak resident memory so far (VmHWM), in kB; 0 when the process has ended. */
function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readProc(`${pid}/status`))?.[1] ?? 0);
}

function childrenOf(pid: number): number[] {
  return readProc(`${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
}

function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, "utf8");
  } catch {
    return "";
  }
}
