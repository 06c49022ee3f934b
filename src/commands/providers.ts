// The command `providers`: says where this machine can compute and what stands in the way elsewhere, and installs what is
// missing.

import { type Command, Option } from "commander";
import { type ExpectedDownload, INSTALLABLE_PROVIDERS, installCuda } from "../pipeline/install-provider.js";
import { listProviders } from "../pipeline/list-providers.js";
import { downloadNotice, installReport } from "../report/install-report.js";
import { providersJson, providersReport } from "../report/providers-report.js";
import { screenOf } from "../report/screen.js";
import type { CommandContext } from "./command-context.js";
import { withProgress } from "./with-progress.js";

interface ProvidersFlags {
  readonly json?: boolean;
  readonly install?: string;
}

export function addProvidersCommand(program: Command, context: CommandContext): void {
  program
    .command("providers")
    .description("say where this machine can compute, and what stands in the way elsewhere")
    .option("--json", "print the result as JSON")
    .addOption(
      new Option("--install <provider>", "download what this provider needs and npm does not bring")
        .choices(INSTALLABLE_PROVIDERS)
        .conflicts("json"),
    )
    .action((flags: ProvidersFlags) =>
      flags.install === undefined ? runProviders(flags, context) : runInstall(context),
    );
}

async function runProviders({ json }: ProvidersFlags, context: CommandContext): Promise<void> {
  const { stdout, signal } = context;
  const list = await withProgress(context, false, (onProgress) => listProviders({ signal, onProgress }));
  stdout.write(json ? providersJson(list) : providersReport(list, screenOf(stdout)));
}

async function runInstall(context: CommandContext): Promise<void> {
  const { stdout, stderr, signal } = context;
  const onStart = (expected: ExpectedDownload) => stderr.write(downloadNotice(expected));
  const installed = await withProgress(context, false, (onProgress) => installCuda({ signal, onStart, onProgress }));
  stdout.write(installReport(installed));
}
