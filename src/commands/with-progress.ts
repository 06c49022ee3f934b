// Shows progress on stderr while a command's work goes on, and clears it before anything else is printed.

import pc from "picocolors";
import { createProgressDisplay, type Progress } from "../report/progress.js";
import type { CommandContext } from "./command-context.js";

/** Runs the work. The line is gone when this is over, however it ends. */
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
