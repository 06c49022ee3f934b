// Tables of the HTML report: caches, positions, layers, and the settings of the measurement. Pure.

import { counted, formatCount } from "../counted.js";
import type { Fidelity } from "../metrics/cache-fidelity.js";
import { formatLimit, formatNats, formatShare, nameOf } from "../metrics/figures.js";
import { outcomeOf } from "../metrics/thresholds.js";
import type { VerifyResult } from "../pipeline/verify-result.js";
import { type Content, html, Markup, unbroken } from "./html-markup.js";
import { formatValue } from "./text.js";
import { cacheOf, figuresOf, formatDecibels, judgedArm, limitRows, subjectOf } from "./verify-figures.js";
import { retrievalTable } from "./verify-retrieval.js";

/** A row for each arm, then the noise floor and the limits. On a narrow screen each row becomes a card. */
export function armTable(result: VerifyResult): Markup {
  const { baseline, arms, thresholds } = result;
  const titles = ["cache", "perplexity", `against ${baseline}`, "mean KL", "p99 KL", "same token"];
  const rows = arms.map((arm) => {
    const { perplexity, ratio, meanKl, p99, agreement } = figuresOf(arm, result);
    const outcome = arm.name === baseline ? "within" : outcomeOf(judgedArm(arm, result), thresholds);
    const isCalm = result.verdict.passed || outcome === "undecided";
    const name = html`<span class="mark series-${arm.name}"></span>${arm.name}${outcome === "within" ? "" : html` <span class="beyond ${isCalm ? "calm" : ""}">${OUTCOMES[outcome]}</span>`}<small>${arm.description}</small>`;
    return cardRow(arm === subjectOf(result) ? "judged" : "", titles, [
      name,
      perplexity,
      ratio,
      meanKl,
      p99,
      agreement,
    ]);
  });
  const limits = limitRows(result).map(([name = "", ...cells]) =>
    cardRow("limits", titles, [html`${name}<small>${LIMIT_NOTES[name] ?? ""}</small>`, ...cells]),
  );
  return html`<div class="scroll" role="region" tabindex="0" aria-label="Caches compared">
<table class="cards" role="table">
<caption>Each row is what one cache would keep of K and V. Differences are from ${baseline}, over the same ${counted(result.positions, "position")}; KL in nats.</caption>
<thead role="rowgroup"><tr role="row">${titles.map((title) => html`<th role="columnheader" scope="col">${title}</th>`)}</tr></thead>
<tbody role="rowgroup">
${rows}${limits}
</tbody>
</table>
</div>`;
}

const OUTCOMES = { beyond: "beyond the limits", undecided: "maybe beyond the limits" } as const;

const LIMIT_NOTES: Readonly<Record<string, string>> = {
  noise: "what 16-bit rounding itself changes",
  limit: "what is allowed",
};

/** Roles are explicit, because a table that is laid out as cards is no table to a screen reader. */
function cardRow(className: string, titles: readonly string[], [name, ...cells]: readonly Content[]): Markup {
  const shown = cells.map((cell, index) => ({ title: titles[index + 1], cell }));
  return html`<tr role="row" class="${className}"><th role="rowheader" scope="row">${name}</th>${shown.map(
    ({ title, cell }) =>
      html`<td role="cell" data-title="${title}"${cell === "" ? new Markup(' class="empty"') : ""}>${cell}</td>`,
  )}</tr>
`;
}

/** Mean KL divergence in figures: what the plot over positions shows. */
export function positionTable({ arms, positionBins, baseline }: VerifyResult): Markup {
  const names = arms
    .map(({ name }) => name)
    .filter((name) => name !== baseline && positionBins.some(({ meanKl }) => name in meanKl));
  const rows = positionBins.map(({ first, end, positions, meanKl }) => [
    `${formatCount(first)}–${formatCount(end - 1)}`,
    ...names.map((name) => (meanKl[name] === undefined ? "" : formatNats(meanKl[name]))),
    formatCount(positions),
  ]);
  return plainTable("Mean KL divergence over positions, nats", ["positions", ...names, "count"], rows);
}

/** What every cache found by depth: what the plots of retrieval show. */
export function retrievalFigures({ retrieval }: VerifyResult): Markup {
  if (retrieval === undefined) return new Markup("");
  const { titles, rows } = retrievalTable(retrieval);
  return plainTable("Values found by depth, and mean nats of a value", titles, rows);
}

const SIDE_TITLES = ["absmax", "scale", "SQNR", "saturated", "flushed"];

/** Every layer of the judged arm in figures. */
export function layerTable(result: VerifyResult): Markup {
  const subject = subjectOf(result);
  if (subject === undefined) return new Markup("");
  const effects = new Map(result.layerEffects.map(({ layer, meanKl }) => [layer, formatNats(meanKl)]));
  const hasEffects = effects.size > 0;
  const rows = subject.layers.map(({ layer, kScale, vScale, k, v }) => [
    `${layer}`,
    ...sideCells(k, kScale),
    ...sideCells(v, vScale),
    ...(hasEffects ? [effects.get(layer) ?? ""] : []),
  ]);
  const side = (name: string) => html`<th scope="colgroup" colspan="${SIDE_TITLES.length}">${name}</th>`;
  const head = html`<tr class="sides"><td></td>${side("K")}${side("V")}${hasEffects ? html`<td></td>` : ""}</tr>`;
  const titles = ["layer", ...SIDE_TITLES, ...SIDE_TITLES, ...(hasEffects ? ["KL alone"] : [])];
  return plainTable(`Layers of ${subject.name} in figures`, titles, rows, head);
}

function sideCells({ absmax, sqnr, saturatedShare, flushedShare }: Fidelity, scale: number): string[] {
  const sizeOf = (value: number) => (Number.isFinite(value) ? formatValue(value) : nameOf(value));
  return [sizeOf(absmax), sizeOf(scale), formatDecibels(sqnr), formatShare(saturatedShare), formatShare(flushedShare)];
}

/** A table that scrolls sideways where it does not fit. */
function plainTable(
  caption: string,
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  head?: Markup,
): Markup {
  return html`<details open><summary>${caption}</summary>
<div class="scroll" role="region" tabindex="0" aria-label="${caption}">
<table class="figures">
<caption><span class="spoken">${caption}</span></caption>
<thead>${head}<tr>${titles.map((title) => html`<th scope="col">${title}</th>`)}</tr></thead>
<tbody>
${rows.map(
  ([name = "", ...cells]) => html`<tr><th scope="row">${name}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>
`,
)}</tbody>
</table>
</div>
</details>`;
}

/** What made the report, and when. */
export interface ReportOrigin {
  /** Of this program. */
  readonly version: string;
  readonly runtimeVersion: string;
  readonly nodeVersion: string;
  /** Such as "2026-11-26 21:50 UTC". */
  readonly date: string;
}

/** The settings: enough to measure again. */
export function factList(result: VerifyResult, made: ReportOrigin, library: string): Markup {
  const { checkpoint, modelType, provider, windows, tokens, positions, baseline, thresholds } = result;
  const { maxPerplexityIncrease, maxKl, minAgreement } = thresholds;
  const facts: readonly (readonly [name: string, value: Content])[] = [
    ["Checkpoint", html`<bdi>${checkpoint}</bdi>`],
    ["Architecture", modelType],
    ["FP8 cache", cacheOf(result)],
    ["Compared with", baseline],
    [
      "Text",
      html`${result.data === undefined ? "the held-out text of the package" : html`<bdi>${result.data}</bdi>`}: ${counted(tokens, "token")} in ${counted(windows, "window")}, seed ${result.seed}`,
    ],
    ["Positions", `${formatCount(positions)}, each with a token that follows`],
    [
      "Limits",
      `perplexity +${formatLimit(maxPerplexityIncrease)}, mean KL ${maxKl} nats, same token ${formatLimit(minAgreement)}`,
    ],
    ["Computed on", provider],
    ["Made on", made.date],
    [
      "Made by",
      `create-kv-scales ${made.version}, ONNX Runtime ${made.runtimeVersion}, Node ${made.nodeVersion}; plots by ${library}`,
    ],
  ];
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${typeof value === "string" ? unbroken(value) : value}</dd></div>`)}</dl>
<p class="muted">Intervals hold 95 %: from paired differences between texts, or between passages of 2,048 tokens of long ones,
with Student's t. A figure is within or beyond its limit when its whole interval is. A perplexity whose interval includes
that of the baseline, or whose change is smaller than the noise, counts as no difference.</p>`;
}
