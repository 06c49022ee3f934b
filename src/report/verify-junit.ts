// The result of a verification as JUnit's XML, which test dashboards read: a case for each threshold and the verdict.
// Pure: text out.

import { checkThresholds } from "../metrics/thresholds.js";
import type { ArmResult, VerifyResult } from "../pipeline/verify-result.js";
import { type Shown, shown } from "./shown-text.js";
import { judgedArm, noiseFloorFor, stateOf, subjectOf } from "./verify-figures.js";

const CLASS_NAME = "create-kv-scales.verify";

interface TestCase {
  readonly className: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "open" | "skipped";
  readonly message: string;
}

/**
 * One suite: the verdict, and each threshold for each arm but the baseline. The suite fails exactly when the command
 * does. So an inconclusive verdict is a failure of another type, or skipped if it is allowed. A threshold that the judged
 * arm exceeds is a failure; one that is not decided, or that another arm exceeds, is skipped with the figures: scale 1.0
 * and E5M2 are only for comparison.
 * @param allowsInconclusive whether the command takes an inconclusive verdict for no failure
 */
export function verifyJunit(verified: VerifyResult, seconds: number, allowsInconclusive = false): string {
  const result = shown(verified);
  const subject = subjectOf(result);
  const cases = [
    verdictCase(result, allowsInconclusive),
    ...result.arms
      .filter(({ name }) => name !== result.baseline)
      .flatMap((arm) => thresholdCases(arm, arm === subject, result)),
  ];
  const count = (...outcomes: TestCase["outcome"][]) =>
    cases.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const counts = {
    tests: String(cases.length),
    failures: String(count("failed", "open")),
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

function verdictCase({ verdict }: Shown<VerifyResult>, allowsInconclusive: boolean): TestCase {
  const { sentence, reasons, flag } = verdict;
  const state = stateOf(verdict);
  const hint = flag === undefined ? [] : [`vLLM: ${flag}`];
  return {
    className: CLASS_NAME,
    name: "verdict",
    outcome: state === "open" && allowsInconclusive ? "skipped" : state,
    message: [sentence, ...reasons, ...hint].join("\n"),
  };
}

function thresholdCases(arm: ArmResult, isSubject: boolean, result: Shown<VerifyResult>): TestCase[] {
  const isJudged = isSubject && stateOf(result.verdict) !== "open";
  return checkThresholds(judgedArm(arm, result), result.thresholds, noiseFloorFor(arm, result)).map(
    ({ name, limit, outcome, sentence }) => ({
      className: `${CLASS_NAME}.${arm.name}`,
      name: `${name} ${limit}`,
      outcome: outcome === "within" ? "passed" : isJudged && outcome === "beyond" ? "failed" : "skipped",
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
    case "open": {
      const type = outcome === "failed" ? "verification" : "inconclusive";
      return `${start}><failure ${attributes({ message: firstLine, type })}>${escapeXml(message)}</failure></testcase>`;
    }
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
