// `verify`: options in, verification called, reports out, a failed verdict as an error with its exit code.

import type { Command } from "commander";
import { InconclusiveError, UsageError, VerificationError } from "../errors.js";
import { EMBEDDED_EXAMPLE } from "../pipeline/run-options.js";
import { screenOf } from "../report/screen.js";
import { warningLines } from "../report/warning-lines.js";
import type { CommandContext } from "./command-context.js";
import { addVerifyFlags, type VerifyFlags } from "./verify-flags.js";
import { reportRequests, requestForStdout } from "./verify-reports.js";
import { withProgress } from "./with-progress.js";

/** Gives the program its `verify` command. */
export function addVerifyCommand(program: Command, context: CommandContext): void {
  const command = program.command("verify");
  addVerifyFlags(command);
  command.action((model: string | undefined, flags: VerifyFlags) => runVerify(model, flags, context));
}

async function runVerify(model: string | undefined, flags: VerifyFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, signal } = context;
  const { dryRun, json, quiet = false, allowInconclusive, ...others } = flags;
  const { html: _html, markdown: _markdown, junit: _junit, ...judging } = others;
  const { maxPerplexityIncrease, maxKl, minAgreement, minRetrieval, ...computing } = judging;
  const { retrieval: isRetrieving, retrievalTokens, retrievalValues, ...generating } = computing;
  const { generate: isGenerating, generateData, maxNewTokens, device: devices, ...options } = generating;
  if (dryRun && quiet) throw new UsageError("Choose one of --dry-run and --quiet");
  if (json && quiet) throw new UsageError("Choose one of --json and --quiet");
  if (!isGenerating && (generateData !== undefined || maxNewTokens !== undefined)) {
    throw new UsageError("--generate-data and --max-new-tokens go with --generate: add it");
  }
  if (!isRetrieving && (retrievalTokens !== undefined || retrievalValues !== undefined)) {
    throw new UsageError("--retrieval-tokens and --retrieval-values go with --retrieval: add it");
  }
  const retrieval = isRetrieving ? { tokens: retrievalTokens, values: retrievalValues } : undefined;
  const generate = isGenerating ? { data: generateData, maxNewTokens } : undefined;
  // All that the end needs, too: it must not fail because the package was updated while the work went on.
  const { planReportFiles, refuseInputs, writeReportFiles } = await import("./report-files.js");
  const { verifyJson } = await import("../report/verify-json.js");
  const { verifyReport } = await import("../report/verify-report.js");
  const requests = await reportRequests(flags);
  const printed = requestForStdout(requests, flags);
  const reports = await planReportFiles(requests.filter((request) => request !== printed));
  const { verify } = await import("../pipeline/verify.js");
  const data = [options.data, generateData].filter((path) => path !== undefined);
  const onFolder = (folder: string) => refuseInputs(reports, [folder, ...data]);
  const start = performance.now();
  const thresholds = { maxPerplexityIncrease, maxKl, minAgreement, minRetrieval };
  const chosen = { ...options, devices, thresholds, retrieval, generate };
  const request = { ...chosen, model: model ?? EMBEDDED_EXAMPLE, signal, onFolder };
  if (dryRun) {
    const { planVerification } = await import("../pipeline/verify-dry-run.js");
    const { dryRunJson, dryRunReport } = await import("../report/dry-run-report.js");
    const paths = reports.map(({ path }) => path);
    const run = await withProgress(context, false, (onProgress) => planVerification({ ...request, onProgress }, paths));
    return stdout.write(json ? dryRunJson(run) : dryRunReport(run, screenOf(stdout)));
  }
  const result = await withProgress(context, quiet, (onProgress) => verify({ ...request, onProgress }));
  const seconds = (performance.now() - start) / 1000;
  if (printed !== undefined) stdout.write(printed.textOf({ result, seconds }));
  else if (json) stdout.write(verifyJson(result, seconds));
  else if (quiet) {
    stdout.write(`${result.verdict.name}\n`);
    stderr.write(warningLines(result.warnings));
  } else stdout.write(verifyReport(result, screenOf(stdout), seconds));
  // The verdict first: it decides the exit code, whatever becomes of the reports.
  const failures = await writeReportFiles(reports, { result, seconds });
  const { name, passed, sentence } = result.verdict;
  if (name === "inconclusive") {
    if (!allowInconclusive) failures.unshift(new InconclusiveError(`Verification is inconclusive: ${sentence}`));
  } else if (!passed) failures.unshift(new VerificationError(`Verification failed: ${sentence}`));
  if (failures.length > 0) throw new AggregateError(failures);
}
