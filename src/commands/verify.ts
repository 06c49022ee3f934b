// `verify`: options in, verification called, reports out, a failed verdict as an error with its exit code.

import { type Command, InvalidArgumentError, Option } from "commander";
import { didYouMean } from "../closest-name.js";
import { InconclusiveError, UsageError, VerificationError } from "../errors.js";
import { ARMS } from "../pipeline/arms.js";
import type { ProviderChoice } from "../pipeline/choose-provider.js";
import {
  BASELINES,
  EMBEDDED_EXAMPLE,
  GENERATION_DEFAULTS,
  RETRIEVAL_DEFAULTS,
  VERIFICATION_DEFAULTS,
} from "../pipeline/run-options.js";
import { RUNTIME_VERSION, TOOL_VERSION } from "../pipeline/tool-version.js";
import type { ArmName, VerifyResult } from "../pipeline/verify-result.js";
import { screenOf } from "../report/screen.js";
import type { ReportOrigin } from "../report/verify-html-tables.js";
import { warningLines } from "../report/warning-lines.js";
import { assumeHarmlessOption } from "./assume-harmless-option.js";
import { choiceOption } from "./choice-option.js";
import type { CommandContext } from "./command-context.js";
import { addDataOptions, type DataFlags } from "./data-options.js";
import {
  parseBytes,
  parseDevices,
  parseIncrease,
  parseNats,
  parsePositiveInteger,
  parseSeed,
  parseShare,
  parseText,
  parseWindow,
} from "./option-values.js";
import { providerOption } from "./provider-option.js";
import type { ReportRequest } from "./report-files.js";
import { withProgress } from "./with-progress.js";

const SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY";
/** In place of a file: the report is what is printed. */
const STDOUT = "-";

interface VerifyFlags extends DataFlags {
  readonly revision?: string;
  readonly arms?: readonly ArmName[];
  readonly baseline?: ArmName;
  readonly perLayer?: boolean;
  readonly samples: number;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly provider: ProviderChoice;
  readonly device?: readonly number[];
  readonly memory?: number;
  readonly assumeHarmless?: readonly string[];
  readonly maxPerplexityIncrease: number;
  readonly maxKl: number;
  readonly minAgreement: number;
  readonly minRetrieval: number;
  readonly allowInconclusive?: boolean;
  readonly retrieval?: boolean;
  readonly retrievalTokens?: number;
  readonly retrievalValues?: number;
  readonly generate?: boolean;
  readonly generateData?: string;
  readonly maxNewTokens?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly html?: string;
  readonly markdown?: string;
  readonly junit?: string;
  readonly quiet?: boolean;
}

/** Gives the program its `verify` command. */
export function addVerifyCommand(program: Command, context: CommandContext): void {
  const defaults = VERIFICATION_DEFAULTS;
  const number = (flags: string, description: string, parse: (text: string) => number, value: number) =>
    new Option(flags, description).argParser(parse).default(value);
  const described = program
    .command("verify")
    .description("run inference with the FP8 cache: what does it cost?")
    .argument("[model]", "checkpoint folder or hub id; without it, the embedded example is verified", parseText)
    .option("--revision <revision>", "branch, tag or commit of a hub id", parseText)
    .addOption(new Option("--arms <names>", `caches to compare: ${Object.keys(ARMS).join(", ")}`).argParser(parseArms))
    .addOption(choiceOption("--baseline <arm>", "what the others are compared with", BASELINES))
    .option("--per-layer", "also try FP8 in each layer alone");
  addDataOptions(
    described,
    "text: .txt, .jsonl, .json, .parquet, a folder of them, or a data set on the hub (default: shipped held-out text)",
  )
    .addOption(number("--samples <count>", "texts to use at most", parsePositiveInteger, defaults.samples))
    .addOption(number("--sequence-length <tokens>", "tokens of a window", parseWindow, defaults.sequenceLength))
    .addOption(number("--seed <seed>", "which texts, when there are more", parseSeed, defaults.seed))
    .addOption(providerOption(defaults.provider))
    .option("--device <numbers>", "GPUs that share the work, such as 0,1 (default: 0)", parseDevices)
    .option("--memory <size>", "weights in memory at a time, or all on a GPU, such as 4GiB", parseBytes)
    .addOption(
      number(
        "--max-perplexity-increase <share>",
        "threshold, such as 1%",
        parseIncrease,
        defaults.maxPerplexityIncrease,
      ),
    )
    .addOption(number("--max-kl <nats>", "threshold on the mean KL divergence per token", parseNats, defaults.maxKl))
    .addOption(
      number(
        "--min-agreement <share>",
        "threshold on the share of equal top tokens",
        parseShare,
        defaults.minAgreement,
      ),
    )
    .addOption(
      number(
        "--min-retrieval <share>",
        "threshold on the share of values that are still found, with --retrieval",
        parseShare,
        defaults.minRetrieval,
      ),
    )
    .option("--allow-inconclusive", "exit with 0, not 8, where there is too little text to decide")
    .option("--retrieval", "also ask long texts for what they said")
    .addOption(
      new Option(
        "--retrieval-tokens <count>",
        `tokens of such a text at most (default: ${RETRIEVAL_DEFAULTS.tokens}, or the model's positions)`,
      ).argParser(parsePositiveInteger),
    )
    .addOption(
      new Option(
        "--retrieval-values <count>",
        `values that they ask for, 8 or more (default: ${RETRIEVAL_DEFAULTS.values})`,
      ).argParser(parsePositiveInteger),
    )
    .option("--generate", "also answer prompts token by token through stored caches; keeps the whole model in memory")
    .option("--generate-data <path>", "prompts for --generate: .txt, .jsonl, or a folder of them", parseText)
    .addOption(
      new Option(
        "--max-new-tokens <count>",
        `tokens of an answer at most (default: ${GENERATION_DEFAULTS.maxNewTokens})`,
      ).argParser(parsePositiveInteger),
    )
    .addOption(assumeHarmlessOption())
    .option("--dry-run", "say what would be read and computed, and how long it would take; write nothing")
    .option("--json", "print the result as JSON")
    .option("--html <file>", "also write the report as one HTML file, with plots (-: print it)", parseText)
    .option("--markdown <file>", "also write the report as Markdown (-: print it)", parseText)
    .option("--junit <file>", "also write the verdict as JUnit XML (-: print it)", parseText)
    .option("-q, --quiet", "print only the verdict; warnings on stderr")
    .action((model: string | undefined, flags: VerifyFlags) => runVerify(model, flags, context));
}

function parseArms(text: string): ArmName[] {
  const known = Object.keys(ARMS);
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !Object.hasOwn(ARMS, name));
  if (unknown === undefined) return names as ArmName[];
  const expected = `Expected names among ${known.join(", ")}, separated by commas.`;
  throw new InvalidArgumentError(`${expected}${didYouMean(unknown, known)}`);
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
  const { planVerification, verify } = await import("../pipeline/verify.js");
  const data = [options.data, generateData].filter((path) => path !== undefined);
  const onFolder = (folder: string) => refuseInputs(reports, [folder, ...data]);
  const start = performance.now();
  const thresholds = { maxPerplexityIncrease, maxKl, minAgreement, minRetrieval };
  const chosen = { ...options, devices, thresholds, retrieval, generate };
  const request = { ...chosen, model: model ?? EMBEDDED_EXAMPLE, signal, onFolder };
  if (dryRun) {
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

interface Verified {
  readonly result: VerifyResult;
  readonly seconds: number;
}

/** The report that takes the place of the terminal's. @throws UsageError when something else is to be printed, too */
function requestForStdout<Result>(
  requests: readonly ReportRequest<Result>[],
  { json, quiet }: VerifyFlags,
): ReportRequest<Result> | undefined {
  const printed = requests.filter(({ path, appends }) => path === STDOUT && !appends).map(({ option }) => option);
  const others = [...(json ? ["--json"] : []), ...(quiet ? ["--quiet"] : [])];
  const [first, second] = [...printed, ...others];
  if (first !== undefined && second !== undefined && printed.length > 0) {
    throw new UsageError(`${first} - and ${second} both write to standard output: give ${first} a file`);
  }
  return requests.find(({ option }) => option === printed[0]);
}

function originOf(): ReportOrigin {
  return {
    version: TOOL_VERSION,
    runtimeVersion: RUNTIME_VERSION,
    nodeVersion: process.versions.node,
    date: `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
  };
}

async function reportRequests({
  html,
  markdown,
  junit,
  allowInconclusive,
}: VerifyFlags): Promise<ReportRequest<Verified>[]> {
  const summary = process.env[SUMMARY_VARIABLE];
  if (!(html || markdown || junit || summary)) return [];
  const { verifyHtml } = await import("../report/verify-html.js");
  const { verifyJunit } = await import("../report/verify-junit.js");
  const { verifyMarkdown } = await import("../report/verify-markdown.js");
  const toJunit = ({ result, seconds }: Verified) => verifyJunit(result, seconds, allowInconclusive);
  const toMarkdown = ({ result, seconds }: Verified) => verifyMarkdown(result, seconds);
  const requests = [
    { option: "--html", path: html, textOf: ({ result }: Verified) => verifyHtml(result, originOf()) },
    { option: "--markdown", path: markdown, textOf: toMarkdown },
    { option: "--junit", path: junit, textOf: toJunit },
    // GitHub shows what is appended to this file on the page of the run.
    { option: SUMMARY_VARIABLE, path: summary, textOf: toMarkdown, appends: true },
  ];
  return requests.flatMap(({ path, ...request }) => (path ? [{ ...request, path }] : []));
}
