// The command `diff`: compares the scales of two checkpoints. A difference is a failure where it exceeds --max-ratio.

import { type Command, Option } from "commander";
import { ENGINE_NAMES, type EngineName } from "../checkpoint/engine-names.js";
import { counted } from "../counted.js";
import { DifferenceError } from "../errors.js";
import { screenOf } from "../report/screen.js";
import type { CommandContext } from "./command-context.js";
import { parseRatio, parseText } from "./option-values.js";
import { withProgress } from "./with-progress.js";

interface DiffFlags {
  readonly revision?: string;
  readonly engine?: EngineName;
  readonly maxRatio?: number;
  readonly json?: boolean;
}

export function addDiffCommand(program: Command, context: CommandContext): void {
  program
    .command("diff")
    .description("compare the scales of two checkpoints, layer by layer")
    .argument("<a>", "checkpoint folder or hub id (org/name)", parseText)
    .argument("<b>", "the one to compare with it", parseText)
    .option("--revision <revision>", "branch, tag or commit of each hub id that names none (org/name@v1)", parseText)
    .addOption(
      new Option("--engine <engine>", "compare the scales that this engine uses (default: one that uses both)").choices(
        ENGINE_NAMES,
      ),
    )
    .option("--max-ratio <ratio>", "fail with exit code 6 when two scales differ by more, such as 1.05", parseRatio)
    .option("--json", "print the result as JSON")
    .action((a: string, b: string, flags: DiffFlags) => runDiff(a, b, flags, context));
}

async function runDiff(a: string, b: string, { json, ...options }: DiffFlags, context: CommandContext): Promise<void> {
  const { stdout, signal } = context;
  const { diff } = await import("../pipeline/diff.js");
  const { differenceJson, differenceReport } = await import("../report/diff-report.js");
  const difference = await withProgress(context, false, (onProgress) => diff({ ...options, a, b, signal, onProgress }));
  stdout.write(json ? differenceJson(difference) : differenceReport(difference, screenOf(stdout)));
  const { beyond = [], maxRatio } = difference;
  if (beyond.length === 0) return;
  throw new DifferenceError(
    `${counted(beyond.length, "layer")} of ${difference.b.folder} not within ${maxRatio} times the scales of ${difference.a.folder}, as listed.`,
  );
}
