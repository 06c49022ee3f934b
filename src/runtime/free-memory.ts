// How much memory this process and its children can still take: of the machine, or of the container that it is in.

import { freemem, totalmem } from "node:os";

/** In bytes. */
export function freeMemory(): number {
  // macOS counts as free what nothing was ever read into; what it would give back at once is many times as much.
  const ofMachine = process.platform === "darwin" ? totalmem() : freemem();
  // Where a container has no limit, this is 0 or larger than any memory.
  const ofContainer = process.constrainedMemory() ?? 0;
  return ofContainer > 0 ? Math.min(ofMachine, ofContainer - process.memoryUsage.rss()) : ofMachine;
}
