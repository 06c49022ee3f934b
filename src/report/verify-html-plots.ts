// Plots in the HTML report: their legend, the place where the script draws them, and a description in words. Pure; the
// script is browser/draw-plots.js.

import { html, type Markup, unbroken } from "./html-markup.js";
import type { PlotSeries } from "./plot.js";
import { PLOT_LINES } from "./plot-lines.js";
import { type PlotGroup, undrawnSentences } from "./plot-series.js";

/** A group of plots side by side, with one legend and one description. */
export function plotFigure(group: PlotGroup, title?: string): Markup {
  const { id, explanation, findings, plots } = group;
  const width = plots.length > 1 ? "half" : "full";
  const findingsAndGaps = [...findings, ...undrawnSentences(plots)];
  return html`<figure id="figure-${id}">
<figcaption>
${title === undefined ? "" : html`<h3>${title}</h3>`}
<p>${unbroken(explanation)}</p>
${findingsAndGaps.map((finding) => html`<p class="finding">${unbroken(finding)}</p>`)}
</figcaption>
<div class="legend" role="group" aria-label="Series shown">
${(plots[0]?.series ?? []).map(legendButton)}
</div>
<div class="plots ${width}">
${plots.map(
  (plot) => html`<div class="plot">
<div class="plot-title" aria-hidden="true">${plot.title}${plot.y.unit === "" ? "" : html` <small>${plot.y.unit}</small>`}${plot.y.scale === "log" ? html` <small>(log)</small>` : ""}</div>
<div class="canvas" data-plot="${plot.id}" data-group="${groupOf(plot.x.label)}" data-width="${width}" tabindex="0" role="img" aria-label="${plot.description} Arrow keys read the values."></div>
</div>`,
)}
</div>
</figure>`;
}

/** Plots with the same x axis share the pointer. */
function groupOf(label: string): string {
  return label.replaceAll(" ", "-");
}

function legendButton({ style, label }: PlotSeries): Markup {
  const { dash } = PLOT_LINES[style];
  return html`<button type="button" aria-pressed="true" data-series="${style}"><svg class="swatch series-${style}" viewBox="0 0 28 10" width="28" height="10" aria-hidden="true"><line x1="0" y1="5" x2="28" y2="5"${dash.length === 0 ? "" : html` stroke-dasharray="${dash.join(" ")}"`}/></svg>${label}</button>
`;
}
