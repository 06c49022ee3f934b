// The result as a section of Markdown. Its table is aligned, so that it reads well in a terminal too. Measures nothing.

import { rowText } from "./rows.js";

/**
 * @typedef {import("./summary.js").ProgramRow} ProgramRow
 * @typedef {import("./summary.js").AbsmaxDifference} AbsmaxDifference
 *
 * @typedef {object} BenchResult
 * @property {string} date
 * @property {string} command as a shell takes it
 * @property {string} shape
 * @property {number} layers
 * @property {number | null} experts of a layer; null: all of the shape's
 * @property {import("./machine.js").Machine} machine
 * @property {Readonly<Record<string, string>>} versions
 * @property {number} repeats
 * @property {{ size: number, rounds: number, flopsPerSecond: number } | null} bf16Product null when not measured
 * @property {ProgramRow[]} rows
 * @property {(AbsmaxDifference & import("./rows.js").Row)[]} differences empty with one program
 * @property {(import("./summary.js").TimeRatios & import("./rows.js").Row)[]} ratios empty with one program
 */

/** A section of RESULTS.md. @param {BenchResult} result */
export function resultMarkdown({
  date,
  command,
  shape,
  layers,
  experts,
  machine,
  versions,
  repeats,
  bf16Product,
  rows,
  differences,
  ratios,
}) {
  const { cpu, cores, memoryBytes, gpu, driver } = machine;
  const device = gpu === null ? [] : [`${gpu}, driver ${driver}`];
  const host = `${cpu}, ${cores} cores, ${Math.round(memoryBytes / 2 ** 30)} GiB`;
  const peak = bf16Product && `${(bf16Product.flopsPerSecond / 1e12).toFixed(2)} TFLOP/s`;
  return [
    `## ${date}: ${shape}, ${layers} layers${experts === null ? "" : ` of ${experts} experts`}, ${gpu ?? cpu}`,
    "",
    `\`${command}\``,
    "",
    `- ${[...device, host].join("; ")}`,
    `- ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}`,
    ...(bf16Product ? [`- bf16 peak: ${peak}, ${bf16Product.size}³, median of ${bf16Product.rounds}`] : []),
    `- ${repeats === 1 ? "One run" : `Median of ${repeats} runs (least–most)`}; checkpoint in the page cache`,
    ...differences.map((found) => `- Largest difference of absmax, ${rowText(found)}: ${differenceText(found)}`),
    ...ratios.map(
      ({ forward, wall, ...row }) =>
        `- Time over that of transformers, ${rowText(row)}: forward ${spreadText(forward)}, wall ${spreadText(wall)}`,
    ),
    "",
    markdownTable(rows),
    "",
  ].join("\n");
}

/** @param {AbsmaxDifference} difference */
export function differenceText({ layer, side, relative }) {
  return relative === 0 ? "equal" : `${significant(100 * relative)} % (${side.toUpperCase()} of layer ${layer})`;
}

const TITLES = [
  "prompts × tokens",
  "program",
  "wall time, s",
  "load, s",
  "forward, s",
  "tokens/s",
  "of bf16 peak",
  "device memory",
  "host memory",
];

/** One line per row and program. @param {readonly ProgramRow[]} rows */
function markdownTable(rows) {
  const lines = rows.map((row) => [
    rowText(row),
    `${row.program} (${row.how})`,
    spreadText(row.wallSeconds),
    spreadText(row.loadSeconds),
    spreadText(row.computeSeconds),
    spreadText(row.tokensPerSecond),
    row.shareOfPeak === null ? "–" : `${(100 * row.shareOfPeak).toFixed(1)} %`,
    bytesText(row.devicePeakBytes),
    bytesText(row.hostPeakBytes),
  ]);
  const widths = TITLES.map((title, column) =>
    Math.max(...[title, ...lines.map((l) => l[column] ?? "")].map((text) => text.length)),
  );
  const pad = (/** @type {string} */ cell, /** @type {number} */ column) =>
    column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  const rule = widths.map((width, column) => (column < 2 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [TITLES.map(pad), rule, ...lines.map((line) => line.map(pad))].map((c) => `| ${c.join(" | ")} |`).join("\n");
}

/** @param {import("./summary.js").Spread} spread median, and the range where there were several */
function spreadText({ median, least, most }) {
  return least === most ? significant(median) : `${significant(median)} (${significant(least)}–${significant(most)})`;
}

/** Three digits, more only before the point. @param {number} value */
function significant(value) {
  if (!Number.isFinite(value)) return "not a number";
  const digits = value === 0 ? 0 : Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** @param {number | null} bytes */
function bytesText(bytes) {
  return bytes === null ? "–" : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
