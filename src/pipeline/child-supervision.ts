// What every child process does beside its work: it leaves signals to its parent, ends with it, and keeps to its memory.
// Knows nothing of the work.

import { Worker } from "node:worker_threads";
import { INTERRUPT_SIGNALS } from "../interrupts.js";

export interface WatchdogData {
  readonly parentId: number;
  /** Resident memory that the process may have; any when it is undefined. */
  readonly memoryBytes: number | undefined;
}

/** The last words of a process that held more memory than it may. */
export const OVER_MEMORY = "over the limit of memory";

/** Enough for a timer. */
const WATCHDOG_HEAP = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 };

/** To be called first. @param parentId of the process that started this one */
export function superviseChild({ parentId, memoryBytes }: WatchdogData): void {
  // Nothing is lost: what a child has is its parent's, or is nobody's.
  process.on("disconnect", () => process.exit());
  // A terminal sends signals to all its processes; the parent decides what becomes of this one.
  for (const signal of INTERRUPT_SIGNALS) process.on(signal, () => {});
  const watchdog = new Worker(new URL("./child-watchdog.js", import.meta.url), {
    workerData: { parentId, memoryBytes } satisfies WatchdogData,
    resourceLimits: WATCHDOG_HEAP,
    execArgv: [],
  });
  // Where no thread is to be had, the process still ends when its channel closes, if only between two pieces of work.
  watchdog.on("error", () => {});
  watchdog.unref();
}
