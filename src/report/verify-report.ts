// The result of a verification as people read it in a terminal of 80 columns. Pure: text out.

import type { Colors } from "picocolors/types.js";
import { formatNats, formatShare } from "../metrics/figures.js";
import { keepsThresholds } from "../metrics/thresholds.js";
import type { ArmResult, GeneratedText, LayerFidelity, VerifyResult } from "../pipeline/verify-result.js";
import type { Shown } from "./shown-text.js";
import { formatBar } from "./text.js";
import {
  cacheOf,
  figuresOf,
  flushedShare,
  formatDecibels,
  limitRows,
  saturatedShare,
  shownResult,
  subjectOf,
  summaryOf,
} from "./verify-figures.js";
import { partingOf, splitTexts, storageOf } from "./verify-generation.js";
import { clipStart, clipText } from "./verify-lines.js";
import { CONTINUED, wrapText } from "./wrapped-text.js";

const WIDTH = 80;
const BAR_WIDTH = 9;
/** A full bar: more than any FP8 format reaches (E4M3 about 32 dB). */
const FULL_BAR_DECIBELS = 40;

/** The arms, the layers, what was generated, the verdict with its reasons, and the warnings. */
export function verifyReport(verified: VerifyResult, colors: Colors, seconds: number): string {
  const result = shownResult(verified);
  const subject = subjectOf(result);
  return [
    ...armTable(result, colors),
    "",
    ...(subject === undefined || subject.layers.length === 0 ? [] : [...layerTable(subject, result, colors), ""]),
    ...generationLines(result, colors),
    result.checkpoint,
    wrapText(`${cacheOf(result)} · ${summaryOf(result, seconds)}`, WIDTH),
    "",
    ...verdictLines(result, colors),
    ...result.warnings.flatMap((warning) => [
      "",
      ...wrapText(`Warning: ${warning}`, WIDTH, CONTINUED).split("\n").map(colors.yellow),
    ]),
    "",
  ].join("\n");
}

const ARM_WIDTHS = [-8, 15, 23, 9, 9, 10] as const;

function armTable(result: VerifyResult, colors: Colors): string[] {
  const title = ["arm", "perplexity", `against ${result.baseline}`, "mean KL", "p99 KL", "same token"];
  return [
    colors.bold(columns(title, ARM_WIDTHS)),
    ...result.arms.map((arm) => armRow(arm, result, colors)),
    ...limitRows(result).map((cells) => colors.dim(columns(cells, ARM_WIDTHS))),
  ];
}

function armRow(arm: ArmResult, result: VerifyResult, colors: Colors): string {
  const { perplexity, ratio, meanKl, p99, agreement } = figuresOf(arm, result);
  const kept = arm.name === result.baseline || keepsThresholds(arm, result.thresholds);
  const row = columns([arm.name, perplexity, ratio, meanKl, p99, agreement], ARM_WIDTHS);
  return kept ? row : colors.red(row);
}

/** Cells side by side; a negative width is that of a column that begins at its left. */
function columns(cells: readonly string[], widths: readonly number[]): string {
  const padded = cells.map((cell, index) => {
    const width = widths[index] ?? 0;
    return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
  });
  return padded.join(" ").trimEnd();
}

const LAYER_WIDTHS = [5, 9, -BAR_WIDTH, 9, -BAR_WIDTH, 11, 11, 10] as const;

function layerTable(arm: ArmResult, { layerEffects }: VerifyResult, colors: Colors): string[] {
  const effects = new Map(layerEffects.map(({ layer, meanKl }) => [layer, meanKl]));
  const title = ["layer", "K SQNR", "", "V SQNR", "", "saturated", "flushed", effects.size > 0 ? "KL alone" : ""];
  const rows = arm.layers.map((fidelity) => {
    const effect = effects.get(fidelity.layer);
    return layerRow(fidelity, effect === undefined ? "" : formatNats(effect), colors);
  });
  return [colors.bold(`${columns(title, LAYER_WIDTHS)}`), ...rows];
}

function layerRow(fidelity: LayerFidelity, effect: string, colors: Colors): string {
  const { layer, k, v } = fidelity;
  const bar = (sqnr: number) => formatBar(Number.isNaN(sqnr) ? 0 : sqnr / FULL_BAR_DECIBELS, BAR_WIDTH);
  const saturated = formatShare(saturatedShare(fidelity));
  const [layerWidth, sqnrWidth, , , , saturatedWidth, flushedWidth, effectWidth] = LAYER_WIDTHS;
  const paint = k.saturated + v.saturated > 0 ? colors.red : (text: string) => text;
  return [
    String(layer).padStart(layerWidth),
    formatDecibels(k.sqnr).padStart(sqnrWidth),
    colors.cyan(bar(k.sqnr)),
    formatDecibels(v.sqnr).padStart(sqnrWidth),
    colors.cyan(bar(v.sqnr)),
    paint(saturated.padStart(saturatedWidth)),
    formatShare(flushedShare(fidelity)).padStart(flushedWidth),
    ...(effect === "" ? [] : [effect.padStart(effectWidth)]),
  ].join(" ");
}

function generationLines({ generation }: Shown<VerifyResult>, colors: Colors): string[] {
  if (generation === undefined) return [];
  return [
    colors.bold("Generated through the stored caches"),
    ...generation.texts.flatMap((text) => [...generatedLines(text, colors), ""]),
    ...linesOf(storageOf(generation)),
    "",
  ];
}

/** What both caches say once, from its end; then how each goes on. */
function generatedLines(text: Shown<GeneratedText>, colors: Colors): string[] {
  const columns = WIDTH - 10;
  const line = (label: string, shown: string) => (shown === "" ? [] : [`  ${label.padEnd(7)} ${shown}`]);
  const { shared, bits16, fp8 } = splitTexts(text);
  const parting = `          ${partingOf(text)}`;
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

function verdictLines({ verdict }: Shown<VerifyResult>, colors: Colors): string[] {
  const { name, passed, sentence, reasons, flag } = verdict;
  const paint = name === "ship" ? colors.green : passed ? colors.yellow : colors.red;
  return [
    ...linesOf(sentence).map((line) => colors.bold(paint(line))),
    ...reasons.map((reason) => wrapText(`- ${reason}`, WIDTH, "  ")),
    ...(flag === undefined
      ? []
      : ["", "vLLM:", colors.cyan(`  ${wrapText(flag, WIDTH - 6).replaceAll("\n", " \\\n    ")}`)]),
  ];
}

function linesOf(sentence: string): string[] {
  return wrapText(sentence, WIDTH).split("\n");
}
