// How much memory this process and its children can still use, of the machine or of their container.

import { freemem, totalmem } from "node:os";

/** In bytes. */
export function freeMemory(): number {
  // macOS counts only untouched memory as free; many times as much is available at once.
  const ofMachine = process.platform === "darwin" ? totalmem() : freemem();
  // Without a container's limit, this is 0 or larger than any memory.
  const ofContainer = process.constrainedMemory() ?? 0;
  return ofContainer > 0 ? Math.min(ofMachine, ofContainer - process.memoryUsage.rss()) : ofMachine;
}
