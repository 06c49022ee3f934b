// Imports the program's modules one after the other where few files may be open: Node's loader opens all imports of a
// module at once, over a hundred files. Knows no module of the program.

import { readFileSync } from "node:fs";

/** The program has some 200 modules; with more file handles than that, the loader's own order is faster. */
const ENOUGH_FILE_HANDLES = 512;

/** Imports the module and its imports within the available file handles. @returns its exports */
export async function importWithinLimits(module: URL): Promise<unknown> {
  if (fileHandleLimit() < ENOUGH_FILE_HANDLES) await importInTurn(module, new Set());
  return import(module.href);
}

/** The module in a statement, or in an `import()` that comes when it is needed. */
const IMPORTED_PATH = /(?:^(?:import|export)\b[^;"]*|\bimport\()"(?<path>\.[^"]+\.js)"(?:;$|\))/gm;

/** Imports of a module are loaded before it, so that the loader never has to open more than one file. */
async function importInTurn(module: URL, seen: Set<string>): Promise<void> {
  if (seen.has(module.href)) return;
  seen.add(module.href);
  const code = readFileSync(module, "utf8");
  for (const { groups } of code.matchAll(IMPORTED_PATH)) {
    await importInTurn(new URL(groups?.path ?? "", module), seen);
  }
  await import(module.href);
}

/** The limit of open files. Infinity where the system does not report it. */
function fileHandleLimit(): number {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
