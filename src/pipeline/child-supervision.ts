// What every child process does beside its work: it leaves signals to its parent, ends when the parent ends, and obeys
// its memory limit. Knows nothing of the work.

import { Worker } from "node:worker_threads";
import { INTERRUPT_SIGNALS } from "../interrupts.js";

export interface WatchdogData {
  readonly parentId: number;
  /** Limit of resident memory in bytes; undefined: none. */
  readonly memoryBytes: number | undefined;
}

/** The last message of a process that exceeded its memory limit. */
export const OVER_MEMORY = "over the limit of memory";

/** Enough for a timer. */
const WATCHDOG_HEAP = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 };

/** To be called first. @param parentId of the process that started this one */
export function superviseChild({ parentId, memoryBytes }: WatchdogData): void {
  // Nothing is lost: a child writes no files.
  process.on("disconnect", () => process.exit());
  // A terminal sends signals to all its processes; the parent decides when to end this one.
  for (const signal of INTERRUPT_SIGNALS) process.on(signal, () => {});
  const watchdog = new Worker(new URL("./child-watchdog.js", import.meta.url), {
    workerData: { parentId, memoryBytes } satisfies WatchdogData,
    resourceLimits: WATCHDOG_HEAP,
    execArgv: [],
  });
  // If no thread can be started, the process still ends when its channel closes, but only between two pieces of work.
  watchdog.on("error", () => {});
  watchdog.unref();
}
