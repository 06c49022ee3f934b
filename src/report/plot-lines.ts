// How each kind of series is drawn: its dashes, so that lines differ without colours, too. Its colour is in the page's
// style. For the legend and, as data in the page, for the script that draws.

import type { PlotLine, SeriesStyle } from "./plot.js";

export const PLOT_LINES: Readonly<Record<SeriesStyle, PlotLine>> = {
  fp8: { dash: [], width: 2.5, points: true },
  "fp8-at-1": { dash: [7, 4], width: 2, points: true },
  e5m2: { dash: [2, 3], width: 2, points: true },
  "16-bit": { dash: [8, 3, 2, 3], width: 1.5, points: true },
  exact: { dash: [8, 3, 2, 3], width: 1.5, points: true },
  measured: { dash: [], width: 2.5, points: true },
  kept: { dash: [], width: 2.5, points: true },
  range: { dash: [7, 4], width: 1.5, points: false },
  "range-at-1": { dash: [2, 3], width: 1.5, points: false },
  limit: { dash: [12, 4], width: 1.5, points: false },
};
