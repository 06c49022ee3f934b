// The command `providers`: says where this machine can compute, and what stands in the way elsewhere.

import type { Command } from "commander";
import pc from "picocolors";
import { listProviders } from "../pipeline/list-providers.js";
import { providersJson, providersReport } from "../report/providers-report.js";
import type { CommandContext } from "./command-context.js";
import { withProgress } from "./with-progress.js";

interface ProvidersFlags {
  readonly json?: boolean;
}

export function addProvidersCommand(program: Command, context: CommandContext): void {
  program
    .command("providers")
    .description("say where this machine can compute, and what stands in the way elsewhere")
    .option("--json", "print the result as JSON")
    .action((flags: ProvidersFlags) => runProviders(flags, context));
}

async function runProviders({ json }: ProvidersFlags, context: CommandContext): Promise<void> {
  const { stdout, signal } = context;
  const list = await withProgress(context, false, (onProgress) => listProviders({ signal, onProgress }));
  const colors = pc.createColors(stdout.isTTY && pc.isColorSupported);
  stdout.write(json ? providersJson(list) : providersReport(list, colors));
}
