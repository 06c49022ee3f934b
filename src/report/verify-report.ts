// The result of a verification as people read it in a terminal. Pure: text out.

import { formatNats, formatShare } from "../metrics/figures.js";
import { outcomeOf } from "../metrics/thresholds.js";
import type { ArmResult, GeneratedText, VerifyResult } from "../pipeline/verify-result.js";
import { nextStepOf } from "./next-step.js";
import type { Screen } from "./screen.js";
import type { Shown } from "./shown-text.js";
import { type Column, tableLines } from "./table.js";
import { formatBar } from "./text.js";
import {
  cacheOf,
  figuresOf,
  flushedShare,
  formatDecibels,
  judgedArm,
  limitRows,
  saturatedShare,
  shownResult,
  stateOf,
  subjectOf,
  summaryOf,
} from "./verify-figures.js";
import { partingOf, splitTexts, storageOf } from "./verify-generation.js";
import { clipStart, clipText } from "./verify-lines.js";
import { hasRetrieval, retrievalFinding, retrievalTable, retrievalTask } from "./verify-retrieval.js";
import { CONTINUED, wrapCommand, wrapText } from "./wrapped-text.js";

/** The length of a full bar: more than any FP8 format reaches (E4M3 has about 32 dB). */
const FULL_BAR_DECIBELS = 40;
const FULL_BAR_TITLE = `of ${FULL_BAR_DECIBELS} dB`;

/** The arms, the layers, what was generated, the verdict with its reasons, and the warnings. */
export function verifyReport(verified: VerifyResult, screen: Screen, seconds: number): string {
  const { colors, width } = screen;
  const result = shownResult(verified);
  const subject = subjectOf(result);
  return [
    ...armTable(result, screen),
    "",
    ...(subject === undefined || subject.layers.length === 0 ? [] : [...layerTable(subject, result, screen), ""]),
    ...retrievalLines(result, screen),
    ...generationLines(result, screen),
    result.checkpoint,
    wrapText(`${cacheOf(result)} · ${summaryOf(result, seconds)}`, width),
    "",
    ...verdictLines(result, screen),
    ...nextStepLines(verified, screen),
    ...result.warnings.flatMap((warning) => [
      "",
      ...wrapText(`Warning: ${warning}`, width, CONTINUED).split("\n").map(colors.yellow),
    ]),
    "",
  ].join("\n");
}

function armTable(result: VerifyResult, screen: Screen): string[] {
  const { arms, baseline, thresholds } = result;
  const titles = ["arm", "perplexity", `against ${baseline}`, "mean KL", "p99 KL", "same token"];
  const armRows = arms.map((arm) => {
    const { perplexity, ratio, meanKl, p99, agreement } = figuresOf(arm, result);
    return [arm.name, perplexity, ratio, meanKl, p99, agreement];
  });
  const rows = [...armRows, ...limitRows(result)];
  const columns = titles.map((title, index) => ({
    title,
    cells: rows.map((cells) => cells[index] ?? ""),
    align: index === 0 ? ("left" as const) : ("right" as const),
  }));
  return tableLines(columns, screen, (row) => {
    const arm = arms[row];
    if (arm === undefined) return screen.colors.dim;
    const outcome = arm.name === baseline ? "within" : outcomeOf(judgedArm(arm, result), thresholds);
    if (outcome === "within") return undefined;
    // What is only compared with is no alarm beside a verdict that passed, and what is not certain is none at all.
    return result.verdict.passed || outcome === "undecided" ? screen.colors.yellow : screen.colors.red;
  });
}

function layerTable({ layers }: ArmResult, { layerEffects, verdict }: VerifyResult, screen: Screen): string[] {
  const { colors } = screen;
  const effects = new Map(layerEffects.map(({ layer, meanKl }) => [layer, formatNats(meanKl)]));
  const sideColumns = (side: "k" | "v"): Column[] => {
    const sqnrs = layers.map((fidelity) => fidelity[side].sqnr);
    const barOf = (sqnr: number) => formatBar(Number.isNaN(sqnr) ? 0 : sqnr / FULL_BAR_DECIBELS, FULL_BAR_TITLE.length);
    return [
      { title: `${side.toUpperCase()} SQNR`, cells: sqnrs.map(formatDecibels) },
      {
        title: FULL_BAR_TITLE,
        cells: sqnrs.map((sqnr) => ({ text: barOf(sqnr), paint: colors.cyan })),
        isOptional: true,
      },
    ];
  };
  const saturated = layers.map((fidelity) => ({
    text: formatShare(saturatedShare(fidelity)),
    paint: fidelity.k.saturated + fidelity.v.saturated > 0 ? (verdict.passed ? colors.yellow : colors.red) : undefined,
  }));
  const columns = [
    { title: "layer", cells: layers.map(({ layer }) => String(layer)) },
    ...sideColumns("k"),
    ...sideColumns("v"),
    { title: "saturated", cells: saturated },
    { title: "flushed", cells: layers.map((fidelity) => formatShare(flushedShare(fidelity))) },
    ...(effects.size > 0 ? [{ title: "KL alone", cells: layers.map(({ layer }) => effects.get(layer) ?? "") }] : []),
  ];
  return tableLines(columns, screen);
}

function retrievalLines(result: VerifyResult, screen: Screen): string[] {
  if (!hasRetrieval(result)) return [];
  const { titles, rows } = retrievalTable(result.retrieval);
  const columns = titles.map((title, index) => ({ title, cells: rows.map((cells) => cells[index] ?? "") }));
  return [
    screen.colors.bold("Retrieval: values found"),
    ...tableLines(columns, screen),
    ...linesOf(`${retrievalTask(result.retrieval)} ${retrievalFinding(result)}`, screen.width),
    "",
  ];
}

function generationLines({ generation }: Shown<VerifyResult>, screen: Screen): string[] {
  if (generation === undefined) return [];
  const { colors, width } = screen;
  return [
    colors.bold("Generated through the stored caches"),
    ...generation.texts.flatMap((text) => [...generatedLines(text, screen), ""]),
    ...linesOf(storageOf(generation), width),
    "",
  ];
}

/** The end of the common text, then the rest of each. */
function generatedLines(text: Shown<GeneratedText>, { colors, width }: Screen): string[] {
  const columns = width - 10;
  const line = (label: string, shown: string) => (shown === "" ? [] : [`  ${label.padEnd(7)} ${shown}`]);
  const { shared, bits16, fp8 } = splitTexts(text);
  const parting = `          ${wrapText(partingOf(text), width, " ".repeat(10))}`;
  const prompt = line("prompt", clipText(text.prompt, columns));
  if (text.partsAt === undefined) return [...prompt, ...line("both", clipText(shared, columns)), colors.green(parting)];
  return [
    ...prompt,
    ...line("both", clipStart(shared, columns)),
    ...line("16 bits", clipText(bits16, columns)),
    ...line("FP8", clipText(fp8, columns)),
    colors.yellow(parting),
  ];
}

function verdictLines({ verdict }: Shown<VerifyResult>, { colors, width }: Screen): string[] {
  const { name, sentence, reasons } = verdict;
  const paint = name === "ship" ? colors.green : stateOf(verdict) === "failed" ? colors.red : colors.yellow;
  return [
    ...linesOf(sentence, width).map((line) => colors.bold(paint(line))),
    ...reasons.map((reason) => wrapText(`- ${reason}`, width, "  ")),
  ];
}

function nextStepLines(result: VerifyResult, { colors, width }: Screen): string[] {
  const { sentence, command } = nextStepOf(result);
  return ["", wrapText(sentence, width), colors.cyan(wrapCommand(command, width))];
}

function linesOf(sentence: string, width: number): string[] {
  return wrapText(sentence, width).split("\n");
}
