// The command `architectures`: lists the models that can be calibrated, and why known others cannot.

import type { Command } from "commander";
import { screenOf } from "../report/screen.js";
import type { CommandContext } from "./command-context.js";

interface ArchitecturesFlags {
  readonly json?: boolean;
}

export function addArchitecturesCommand(program: Command, { stdout }: CommandContext): void {
  program
    .command("architectures")
    .description("list the models that can be calibrated, by model_type in config.json")
    .option("--json", "print the result as JSON")
    .action(async ({ json }: ArchitecturesFlags) => {
      const { listArchitectures } = await import("../pipeline/list-architectures.js");
      const { architecturesJson, architecturesReport } = await import("../report/architectures-report.js");
      const list = listArchitectures();
      stdout.write(json ? architecturesJson(list) : architecturesReport(list, screenOf(stdout)));
    });
}
