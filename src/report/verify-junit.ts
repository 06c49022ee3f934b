// The result of a verification as JUnit's XML, which test dashboards read: a case for each threshold and the verdict.
// Pure: text out.

import { checkThresholds } from "../metrics/thresholds.js";
import type { ArmResult, VerifyResult } from "../pipeline/verify-result.js";
import { type Shown, shown } from "./shown-text.js";
import { noiseFloorFor, subjectOf } from "./verify-figures.js";

const CLASS_NAME = "create-kv-scales.verify";

interface TestCase {
  readonly className: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly message: string;
}

/**
 * One suite: the verdict, and each threshold for each arm but the baseline. A threshold that the judged arm exceeds is
 * a failure. One that another arm exceeds is skipped, with the figures: scale 1.0 and E5M2 are only for comparison, and
 * the suite must fail exactly when the command does.
 */
export function verifyJunit(verified: VerifyResult, seconds: number): string {
  const result = shown(verified);
  const subject = subjectOf(result);
  const cases = [
    verdictCase(result),
    ...result.arms
      .filter(({ name }) => name !== result.baseline)
      .flatMap((arm) => thresholdCases(arm, arm === subject, result)),
  ];
  const count = (outcome: TestCase["outcome"]) => cases.filter((entry) => entry.outcome === outcome).length;
  const counts = {
    tests: String(cases.length),
    failures: String(count("failed")),
    errors: "0",
    skipped: String(count("skipped")),
    time: seconds.toFixed(3),
  };
  const { skipped: _, ...sums } = counts;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${attributes({ name: "create-kv-scales verify", ...sums })}>`,
    `  <testsuite ${attributes({ name: result.checkpoint, ...counts })}>`,
    ...cases.map(caseElement),
    `    <system-out>${escapeXml(result.warnings.map((warning) => `Warning: ${warning}`).join("\n"))}</system-out>`,
    "  </testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

function verdictCase({ verdict }: Shown<VerifyResult>): TestCase {
  const { passed, sentence, reasons, flag } = verdict;
  const hint = flag === undefined ? [] : [`vLLM: ${flag}`];
  return {
    className: CLASS_NAME,
    name: "verdict",
    outcome: passed ? "passed" : "failed",
    message: [sentence, ...reasons, ...hint].join("\n"),
  };
}

function thresholdCases(arm: ArmResult, isSubject: boolean, result: Shown<VerifyResult>): TestCase[] {
  return checkThresholds(arm, result.thresholds, noiseFloorFor(arm, result)).map(
    ({ name, limit, passed, sentence }) => ({
      className: `${CLASS_NAME}.${arm.name}`,
      name: `${name} ${limit}`,
      outcome: passed ? "passed" : isSubject ? "failed" : "skipped",
      message: isSubject ? sentence : `To compare with: ${sentence}`,
    }),
  );
}

function caseElement({ className, name, outcome, message }: TestCase): string {
  const start = `    <testcase ${attributes({ classname: className, name })}`;
  const [firstLine = ""] = message.split("\n");
  switch (outcome) {
    case "passed":
      return `${start}><system-out>${escapeXml(message)}</system-out></testcase>`;
    case "skipped":
      return `${start}><skipped ${attributes({ message: firstLine })}/></testcase>`;
    case "failed":
      return `${start}><failure ${attributes({ message: firstLine, type: "verification" })}>${escapeXml(message)}</failure></testcase>`;
  }
}

function attributes(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}="${escapeXml(value)}"`)
    .join(" ");
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/**
 * Escapes markup. Characters that XML 1.0 cannot hold (control characters, lone surrogates) do not occur in shown
 * texts.
 */
function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
