// The result of a verification as one HTML file that opens from disk: it contains style, plots and their code, and
// loads nothing. Pure, except that the plotting library is read from its package.

import { createHash } from "node:crypto";
import type { VerifyResult } from "../pipeline/verify-result.js";
import { type Content, html, Markup, scriptJson } from "./html-markup.js";
import type { PlotData } from "./plot.js";
import { readPlotLibrary } from "./plot-library.js";
import { PLOT_LINES } from "./plot-lines.js";
import { stateOf, type VerdictState } from "./verify-figures.js";
import { plotFigure } from "./verify-html-plots.js";
import { PAGE_STYLE } from "./verify-html-style.js";
import {
  armTable,
  factList,
  layerTable,
  positionTable,
  type ReportOrigin,
  retrievalFigures,
} from "./verify-html-tables.js";
import { generatedTexts } from "./verify-html-texts.js";
import { modelName, verdictHeader } from "./verify-html-verdict.js";
import { effectPlotGroup, positionPlotGroup } from "./verify-kl-plots.js";
import { layerPlotGroups } from "./verify-layer-plots.js";
import { hasRetrieval } from "./verify-retrieval.js";
import { retrievalPlotGroup } from "./verify-retrieval-plots.js";

/** The whole page. The same result and origin give the same bytes. */
export function verifyHtml(result: VerifyResult, made: ReportOrigin): string {
  const { version } = made;
  const library = readPlotLibrary();
  const layers = layerPlotGroups(result);
  const positions = positionPlotGroup(result);
  const effects = effectPlotGroup(result);
  const retrieval = hasRetrieval(result) ? retrievalPlotGroup(result) : undefined;
  const groups = [positions, retrieval, effects, ...layers].filter((group) => group !== undefined);
  const plots = groups.flatMap((group) => group.plots);
  const data: PlotData = { lines: PLOT_LINES, plots: Object.fromEntries(plots.map((plot) => [plot.id, plot])) };
  const { verdict, generation } = result;
  const name = modelName(result);
  const { mark, words, color } = TAB[stateOf(verdict)];
  const style = `${library.style}\n${PAGE_STYLE}`;
  const scripts = [library.script, library.drawing].map(scriptText);
  const [draw = "", use = ""] = scripts;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${securityPolicy(scripts, style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="create-kv-scales ${version}">
<title>${mark} ${name}: FP8 KV cache ${words}</title>
<link rel="icon" href="${iconLink(color)}">
<style>${new Markup(style)}</style>
</head>
<body>
${verdictHeader(result)}
<main>
${section("caches", "Caches compared", armTable(result))}
${positions && section("positions", positions.title, [plotFigure(positions), positionTable(result)])}
${retrieval && section("retrieval", retrieval.title, [plotFigure(retrieval), retrievalFigures(result)])}
${generation && section("texts", "Generated texts", generatedTexts(generation))}
${effects && section("effects", effects.title, plotFigure(effects))}
${layers.length > 0 ? section("layers", "Layers", [layers.map((group) => plotFigure(group, group.title)), layerTable(result)]) : ""}
${section("facts", "How this was measured", factList(result, made, library.name))}
</main>
<p id="spoken" class="spoken" aria-live="polite"></p>
<noscript><p class="note">The plots need JavaScript; their figures are in the tables.</p></noscript>
<script type="application/json" id="plot-data">${scriptJson(data)}</script>
<!--
${new Markup(library.licence.trim().replaceAll("--", "- -"))}
-->
<script>${new Markup(draw)}</script>
<script type="module">${new Markup(use)}</script>
</body>
</html>
`;
  return page.text;
}

function section(id: string, title: string, content: Content): Markup {
  return html`<section aria-labelledby="${id}">
<h2 id="${id}">${title}</h2>
${content}
</section>`;
}

/** Nothing may be loaded, and only this program's scripts and style apply. */
function securityPolicy(scripts: readonly string[], style: string): string {
  const sourceOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return [
    "default-src 'none'",
    `script-src ${scripts.map(sourceOf).join(" ")}`,
    `style-src ${sourceOf(style)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
}

/**
 * In code, "</script" and "<!--" can occur only in strings and regular expressions, where a backslash changes nothing.
 */
function scriptText(code: string): string {
  return code.replaceAll(/<(?=\/script|!--)/gi, "\\x3c");
}

/** What the browser's tab shows. */
const TAB: Readonly<Record<VerdictState, { readonly mark: string; readonly words: string; readonly color: string }>> = {
  passed: { mark: "✓", words: "passed", color: "#0a7a4b" },
  failed: { mark: "✗", words: "failed", color: "#c02b1d" },
  open: { mark: "?", words: "not decided", color: "#9a6a00" },
};

/** An icon for the browser's tab; without one, the browser would request it from the server. */
function iconLink(color: string): string {
  const disc = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${color}"/></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(disc)}`;
}
