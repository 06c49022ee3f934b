// The command `providers`: tests where this machine can compute, says what is missing elsewhere, and installs it.

import type { Command } from "commander";
import type { ExpectedDownload } from "../pipeline/install-provider.js";
import { INSTALLABLE_PROVIDERS } from "../pipeline/run-options.js";
import { screenOf } from "../report/screen.js";
import { choiceOption } from "./choice-option.js";
import type { CommandContext } from "./command-context.js";
import { withProgress } from "./with-progress.js";

interface ProvidersFlags {
  readonly json?: boolean;
  readonly install?: string;
}

export function addProvidersCommand(program: Command, context: CommandContext): void {
  program
    .command("providers")
    .description("test where this machine can compute, and say what is missing elsewhere")
    .option("--json", "print the result as JSON")
    .addOption(
      choiceOption(
        "--install <provider>",
        "download what this provider needs beyond the npm package",
        INSTALLABLE_PROVIDERS,
      ).conflicts("json"),
    )
    .action((flags: ProvidersFlags) =>
      flags.install === undefined ? runProviders(flags, context) : runInstall(context),
    );
}

async function runProviders({ json }: ProvidersFlags, context: CommandContext): Promise<void> {
  const { stdout, signal } = context;
  const { listProviders } = await import("../pipeline/list-providers.js");
  const { providersJson, providersReport } = await import("../report/providers-report.js");
  const list = await withProgress(context, false, (onProgress) => listProviders({ signal, onProgress }));
  stdout.write(json ? providersJson(list) : providersReport(list, screenOf(stdout)));
}

async function runInstall(context: CommandContext): Promise<void> {
  const { stdout, stderr, signal } = context;
  const { installCuda } = await import("../pipeline/install-provider.js");
  const { downloadNotice, installReport } = await import("../report/install-report.js");
  const onStart = (expected: ExpectedDownload) => stderr.write(downloadNotice(expected));
  const installed = await withProgress(context, false, (onProgress) => installCuda({ signal, onStart, onProgress }));
  stdout.write(installReport(installed));
}
