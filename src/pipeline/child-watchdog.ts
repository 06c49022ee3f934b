// A thread of a child process that the work cannot block. It ends the process when the parent is gone or the memory
// limit is exceeded. Knows nothing of the work.

import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { OVER_MEMORY, type WatchdogData } from "./child-supervision.js";

/** Often enough that the process ends within a second on a busy machine, too; a check takes microseconds. */
const INTERVAL_MS = 100;

const { parentId, memoryBytes } = workerData as WatchdogData;

setInterval(() => {
  if (isOrphan()) process.kill(process.pid, "SIGKILL");
  if (memoryBytes === undefined || process.memoryUsage.rss() <= memoryBytes) return;
  try {
    writeSync(process.stderr.fd, OVER_MEMORY);
  } finally {
    process.kill(process.pid, "SIGKILL");
  }
}, INTERVAL_MS);

/** On Windows the parent's id does not change when the parent is gone, so that is checked, too. */
function isOrphan(): boolean {
  if (process.ppid !== parentId) return true;
  try {
    process.kill(parentId, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
