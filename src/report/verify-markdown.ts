// The result of a verification as GitHub's Markdown, for a pull request or a job summary. Pure: text out.

import { formatCount } from "../counted.js";
import { formatNats, formatShare } from "../metrics/figures.js";
import type { VerifyResult } from "../pipeline/verify-result.js";
import { nextStepOf } from "./next-step.js";
import { PATH_LIMIT, type Shown, type ShownText, shown } from "./shown-text.js";
import {
  cacheOf,
  figuresOf,
  flushedShare,
  formatDecibels,
  limitRows,
  saturatedShare,
  shownResult,
  stateOf,
  subjectOf,
  summaryOf,
  type VerdictState,
} from "./verify-figures.js";
import { partingOf, storageOf } from "./verify-generation.js";
import { clipText } from "./verify-lines.js";
import { hasRetrieval, retrievalFinding, retrievalTable, retrievalTask } from "./verify-retrieval.js";

/** Of a generated text; --json has the whole. */
const TEXT_COLUMNS = 240;

const STATES: Readonly<Record<VerdictState, { readonly mark: string; readonly words: string }>> = {
  passed: { mark: "✅", words: "passed" },
  failed: { mark: "❌", words: "failed" },
  open: { mark: "❔", words: "not decided" },
};

/** The verdict and the arms; layers, positions and texts are folded. */
export function verifyMarkdown(verified: VerifyResult, seconds: number): string {
  const result = shownResult(verified);
  const { verdict } = result;
  const nextStep = nextStepOf(verified);
  const { mark, words } = STATES[stateOf(verdict)];
  return `${[
    `## ${mark} FP8 KV cache: ${words}`,
    `**${escapeMarkdown(verdict.sentence)}**`,
    verdict.reasons.map((reason) => `- ${escapeMarkdown(reason)}`).join("\n"),
    `${nextStep.sentence}\n\n${code(shown(nextStep.command.join(" "), PATH_LIMIT))}`,
    armTable(result),
    `${code(result.checkpoint)} · ${escapeMarkdown(`${cacheOf(result)} · ${summaryOf(result, seconds)}`)}`,
    result.warnings.map((warning) => `> ⚠️ ${escapeMarkdown(warning)}`).join("\n>\n"),
    layerDetails(result),
    positionDetails(result),
    retrievalDetails(result),
    generationDetails(result),
  ]
    .filter((part) => part !== "")
    .join("\n\n")}\n`;
}

function armTable(result: Shown<VerifyResult>): string {
  const rows = result.arms.map((arm) => {
    const { perplexity, ratio, meanKl, p99, agreement } = figuresOf(arm, result);
    return [`${arm.name} (${arm.description})`, perplexity, ratio, meanKl, p99, agreement];
  });
  const titles = ["arm", "perplexity", `against ${result.baseline}`, "mean KL", "p99 KL", "same token"];
  return table(titles, [...rows, ...limitRows(result)]);
}

function layerDetails(result: VerifyResult): string {
  const subject = subjectOf(result);
  if (subject === undefined) return "";
  const effects = new Map(result.layerEffects.map(({ layer, meanKl }) => [layer, formatNats(meanKl)]));
  const rows = subject.layers.map((fidelity) => [
    String(fidelity.layer),
    formatDecibels(fidelity.k.sqnr),
    formatDecibels(fidelity.v.sqnr),
    formatShare(saturatedShare(fidelity)),
    formatShare(flushedShare(fidelity)),
    ...(effects.size === 0 ? [] : [effects.get(fidelity.layer) ?? ""]),
  ]);
  const titles = ["layer", "K SQNR", "V SQNR", "saturated", "flushed", ...(effects.size === 0 ? [] : ["KL alone"])];
  return details(`Layers of ${subject.name}`, table(titles, rows));
}

function positionDetails({ arms, positionBins }: VerifyResult): string {
  const names = arms.map(({ name }) => name).filter((name) => positionBins.some(({ meanKl }) => name in meanKl));
  if (names.length === 0) return "";
  const rows = positionBins.map(({ first, end, meanKl }) => [
    `${formatCount(first)}–${formatCount(end - 1)}`,
    ...names.map((name) => (meanKl[name] === undefined ? "" : formatNats(meanKl[name]))),
  ]);
  return details("Mean KL by position", table(["position", ...names], rows));
}

function retrievalDetails(result: VerifyResult): string {
  if (!hasRetrieval(result)) return "";
  const { titles, rows } = retrievalTable(result.retrieval);
  const words = escapeMarkdown(`${retrievalTask(result.retrieval)} ${retrievalFinding(result)}`);
  return details("Values retrieved by depth", `${words}\n\n${table(titles, rows)}`);
}

function generationDetails({ generation }: Shown<VerifyResult>): string {
  if (generation === undefined) return "";
  const rows = generation.texts.map((text) => [
    ...[text.prompt, text.bits16.text, text.fp8.text].map((content) => clipText(content, TEXT_COLUMNS)),
    partingOf(text),
  ]);
  const texts = table(["prompt", "16 bits", "FP8", "tokens"], rows, ":--");
  return details("Generated through the stored caches", `${texts}\n\n${escapeMarkdown(storageOf(generation))}`);
}

function table(titles: readonly string[], rows: readonly (readonly string[])[], align: ":--" | "--:" = "--:"): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escapeMarkdown).join(" | ")} |`;
  const rule = `| ${titles.map((_, index) => (index === 0 ? ":--" : align)).join(" | ")} |`;
  return [line(titles), rule, ...rows.map(line)].join("\n");
}

function details(title: string, content: string): string {
  return `<details><summary>${escapeMarkdown(title)}</summary>\n\n${content}\n\n</details>`;
}

/** Characters with which GitHub links an address, a person or an issue, even after a backslash. */
const LINKED = /(?<=[@#])(?=\w)|(?<=:)(?=\/\/)|(?<=www)(?=\.)|(?<=(?:mailto|xmpp):)/gi;

/** Escapes everything that Markdown or HTML would interpret: names and generated texts may contain anything. */
function escapeMarkdown(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll(/[\\`*_[\]|~#@!$]/g, (character) => `\\${character}`)
    .replaceAll(LINKED, "<!-- -->");
}

/** Between more backticks than the text contains in a row. */
function code(text: ShownText): string {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  const space = longest > 0 ? " " : "";
  return `${fence}${space}${text}${space}${fence}`;
}
