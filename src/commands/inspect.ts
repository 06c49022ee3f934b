// The command `inspect`: says what scales a checkpoint has and what engines do with them; fails when something is wrong.

import { type Command, Option } from "commander";
import { ENGINE_NAMES, type EngineName } from "../checkpoint/engine-names.js";
import { counted } from "../counted.js";
import { CheckpointError } from "../errors.js";
import type { InspectedEngine } from "../pipeline/inspect.js";
import { screenOf } from "../report/screen.js";
import type { CommandContext } from "./command-context.js";
import { parseText } from "./option-values.js";
import { withProgress } from "./with-progress.js";

const NOT_USED: Readonly<Record<Exclude<InspectedEngine["use"], "used">, string>> = {
  none: "finds no KV scales",
  ignored: "does not use the KV scales",
  refused: "refuses the checkpoint",
  unknown: "may not use the KV scales",
};

interface InspectFlags {
  readonly revision?: string;
  readonly engine?: EngineName;
  readonly json?: boolean;
}

export function addInspectCommand(program: Command, context: CommandContext): void {
  program
    .command("inspect")
    .description("say what scales a checkpoint has and what each engine does with them")
    .argument("<checkpoint>", "checkpoint folder or hub id (org/name)", parseText)
    .option("--revision <revision>", "branch, tag or commit of a hub id", parseText)
    .addOption(
      new Option(
        "--engine <engine>",
        "fail with exit code 3 unless it is known that this engine uses the scales",
      ).choices(ENGINE_NAMES),
    )
    .option("--json", "print the result as JSON")
    .action((model: string, flags: InspectFlags) => runInspect(model, flags, context));
}

async function runInspect(
  model: string,
  { json, engine, ...options }: InspectFlags,
  context: CommandContext,
): Promise<void> {
  const { stdout, signal } = context;
  const { inspect } = await import("../pipeline/inspect.js");
  const { inspectionJson, inspectionReport } = await import("../report/inspect-report.js");
  const inspection = await withProgress(context, false, (onProgress) =>
    inspect({ ...options, model, signal, onProgress }),
  );
  stdout.write(json ? inspectionJson(inspection) : inspectionReport(inspection, screenOf(stdout)));
  const asked = inspection.engines.find((judged) => judged.engine === engine);
  if (asked !== undefined && asked.use !== "used") {
    throw new CheckpointError(
      `${inspection.folder}: ${asked.name} ${NOT_USED[asked.use]}: ${asked.why}. "create-kv-scales convert" writes scales as other engines read them.`,
    );
  }
  const [first] = inspection.problems;
  if (first === undefined) return;
  const count = inspection.problems.length;
  throw new CheckpointError(
    `${inspection.folder}: ${counted(count, "problem")} with the KV scales, as listed: ${first.kind}${count === 1 ? "" : ", …"}. Calibrate or convert the checkpoint again.`,
  );
}
