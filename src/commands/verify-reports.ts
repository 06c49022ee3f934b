// Which reports a verification writes beside what it prints, from the options and the environment. Writes none.

import { UsageError } from "../errors.js";
import { RUNTIME_VERSION, TOOL_VERSION } from "../pipeline/tool-version.js";
import type { VerifyResult } from "../pipeline/verify-result.js";
import type { ReportOrigin } from "../report/verify-html-tables.js";
import type { ReportRequest } from "./report-files.js";
import type { VerifyFlags } from "./verify-flags.js";

const SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY";
/** In place of a file: the report is what is printed. */
const STDOUT = "-";

/** What reports are made of. */
export interface Verified {
  readonly result: VerifyResult;
  readonly seconds: number;
}

/** The report that takes the place of the terminal's. @throws UsageError when something else is to be printed, too */
export function requestForStdout<Result>(
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

/** The reports that are asked for. */
export async function reportRequests({
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
