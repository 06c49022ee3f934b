// Shows progress on stderr during a command's work, and clears it before anything else is printed.

import pc from "picocolors";
import { createProgressDisplay, type Progress } from "../report/progress.js";
import type { CommandContext } from "./command-context.js";

/** Runs the work, and clears the line at its end or failure. */
export async function withProgress<Result>(
  { stderr }: CommandContext,
  quiet: boolean,
  work: (onProgress: (progress: Progress) => void) => Promise<Result>,
): Promise<Result> {
  const display = await createProgressDisplay({ output: stderr, quiet, color: pc.isColorSupported });
  try {
    return await work((progress) => display.update(progress));
  } finally {
    display.stop();
  }
}
