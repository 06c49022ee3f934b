// The fuzzer as a program: `npm run fuzz -- --runs 1000000 --seed 1`. Cases run in a thread of their own that is watched: one
// that does not end is stopped and told, and so is one that takes too much memory.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type CampaignResult, runCampaign, runCorpus } from "./campaign.js";
import { makeTargets } from "./targets.js";

const HANG_MS = 20_000;
const MEMORY_LIMIT = 200e6;
const WATCH_INTERVAL_MS = 20;
const PROGRESS_INTERVAL_MS = 30_000;

/** Before this many cases, memory grows because the program's code is compiled, not because of what it reads. */
const WARM_UP_CASES = 2000;

interface Task {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  readonly folder: string;
  /** The number of the case that runs. */
  readonly current: Int32Array;
}

if (isMainThread) await main();
else await work(workerData as Task);

async function work({ seed, from, to, folder, current }: Task): Promise<void> {
  const targets = await makeTargets(process.cwd(), folder);
  const corpus = await runCorpus(targets, join(process.cwd(), "test/fuzz/corpus"));
  const onCase = (index: number) => Atomics.store(current, 0, index);
  const { faults, ...result } = await runCampaign({ targets, seed, from, to, onCase });
  parentPort?.postMessage({ ...result, faults: [...corpus, ...faults] } satisfies CampaignResult);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: "100000" },
      seed: { type: "string", default: "1" },
      from: { type: "string", default: "0" },
    },
  });
  const [runs, seed, from] = [Number(values.runs), Number(values.seed), Number(values.from)];
  // In memory where there is such a place: a case is a file or two.
  const folder = mkdtempSync(join(process.platform === "linux" ? "/dev/shm" : tmpdir(), "create-kv-scales-fuzz-"));
  try {
    const start = performance.now();
    const { result, peakGrowth, peakCase } = await watch({ seed, from, to: from + runs, folder });
    const seconds = (performance.now() - start) / 1000;
    console.log(`${result.runs} cases of seed ${seed} in ${seconds.toFixed(0)} s`);
    console.table(result.outcomes);
    console.log(`slowest case: ${result.slowestMs.toFixed(0)} ms of the processor`);
    console.log(`memory: ${(peakGrowth / 1e6).toFixed(0)} MB more than before at most, near case ${peakCase}`);
    for (const fault of result.faults.slice(0, 20)) console.log("FAULT", fault);
    console.log(`${result.faults.length} faults`);
    if (result.faults.length > 0 || peakGrowth > MEMORY_LIMIT) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function watch(task: Omit<Task, "current">) {
  const current = new Int32Array(new SharedArrayBuffer(4));
  current[0] = -1;
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { ...task, current } satisfies Task,
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  let [seen, since, base, peak, peakCase] = [-1, performance.now(), 0, 0, 0];
  const warmUntil = task.from + Math.min(WARM_UP_CASES, (task.to - task.from) / 2);
  let reject: (reason: Error) => void = () => {};
  const watching = setInterval(() => {
    const index = Atomics.load(current, 0);
    const { rss } = process.memoryUsage();
    if (index < warmUntil) base = Math.max(base, rss);
    else if (rss > peak) [peak, peakCase] = [rss, index];
    if (index !== seen) [seen, since] = [index, performance.now()];
    else if (index >= 0 && performance.now() - since > HANG_MS) {
      worker.terminate();
      reject(new Error(`case ${index} of seed ${task.seed} does not end. Run it alone: --from ${index} --runs 1`));
    }
  }, WATCH_INTERVAL_MS);
  const telling = setInterval(() => console.error(`case ${Atomics.load(current, 0)}`), PROGRESS_INTERVAL_MS);
  try {
    const result = await new Promise<CampaignResult>((resolve, fail) => {
      reject = fail;
      worker.once("message", resolve).once("error", (error) => fail(new Error(`case ${seen}`, { cause: error })));
    });
    return { result, peakGrowth: Math.max(0, peak - base), peakCase };
  } finally {
    clearInterval(watching);
    clearInterval(telling);
  }
}
