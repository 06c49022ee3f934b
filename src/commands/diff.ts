// The command `diff`: compares the scales of two checkpoints. A difference is no failure.

import type { Command } from "commander";
import { screenOf } from "../report/screen.js";
import type { CommandContext } from "./command-context.js";
import { parseText } from "./option-values.js";
import { withProgress } from "./with-progress.js";

interface DiffFlags {
  readonly revision?: string;
  readonly json?: boolean;
}

export function addDiffCommand(program: Command, context: CommandContext): void {
  program
    .command("diff")
    .description("compare the scales of two checkpoints, layer by layer")
    .argument("<a>", "checkpoint folder or hub id (org/name)", parseText)
    .argument("<b>", "the one to compare with it", parseText)
    .option("--revision <revision>", "branch, tag or commit of each hub id that names none (org/name@v1)", parseText)
    .option("--json", "print the result as JSON")
    .action((a: string, b: string, flags: DiffFlags) => runDiff(a, b, flags, context));
}

async function runDiff(a: string, b: string, { json, ...options }: DiffFlags, context: CommandContext): Promise<void> {
  const { stdout, signal } = context;
  const { diff } = await import("../pipeline/diff.js");
  const { differenceJson, differenceReport } = await import("../report/diff-report.js");
  const difference = await withProgress(context, false, (onProgress) => diff({ ...options, a, b, signal, onProgress }));
  stdout.write(json ? differenceJson(difference) : differenceReport(difference, screenOf(stdout)));
}
