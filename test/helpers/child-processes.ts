// The processes that the program has started, found through /proc: Linux only.

import { readdirSync, readFileSync } from "node:fs";

export const HAS_PROC = process.platform === "linux";

/** Ids of those of the program `parent`, also when it is gone: it tells each its own id. @param module such as "compute" */
export function childrenOf(parent: number | undefined, module = ""): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => argumentsOf(name).includes(`${module}-child.js\0${parent}\0`))
    .map(Number);
}

/** Each with a NUL behind it; nothing when the process has ended. */
function argumentsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}
