// The command `inspect`: says what scales a checkpoint has and what engines do with them; fails when something is wrong.

import type { Command } from "commander";
import { counted } from "../counted.js";
import { CheckpointError } from "../errors.js";
import { screenOf } from "../report/screen.js";
import type { CommandContext } from "./command-context.js";
import { parseText } from "./option-values.js";
import { withProgress } from "./with-progress.js";

interface InspectFlags {
  readonly revision?: string;
  readonly json?: boolean;
}

export function addInspectCommand(program: Command, context: CommandContext): void {
  program
    .command("inspect")
    .description("say what scales a checkpoint has and what each engine does with them")
    .argument("<checkpoint>", "checkpoint folder or hub id (org/name)", parseText)
    .option("--revision <revision>", "branch, tag or commit of a hub id", parseText)
    .option("--json", "print the result as JSON")
    .action((model: string, flags: InspectFlags) => runInspect(model, flags, context));
}

async function runInspect(model: string, { json, ...options }: InspectFlags, context: CommandContext): Promise<void> {
  const { stdout, signal } = context;
  const { inspect } = await import("../pipeline/inspect.js");
  const { inspectionJson, inspectionReport } = await import("../report/inspect-report.js");
  const inspection = await withProgress(context, false, (onProgress) =>
    inspect({ ...options, model, signal, onProgress }),
  );
  stdout.write(json ? inspectionJson(inspection) : inspectionReport(inspection, screenOf(stdout)));
  const [first] = inspection.problems;
  if (first === undefined) return;
  const count = inspection.problems.length;
  throw new CheckpointError(
    `${inspection.folder}: ${counted(count, "problem")} with the KV scales, as listed: ${first.kind}${count === 1 ? "" : ", …"}. Calibrate or convert the checkpoint again.`,
  );
}
