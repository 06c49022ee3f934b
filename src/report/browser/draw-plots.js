// The script of the HTML report: draws the plots with uPlot, in the colours of the page's style, and shows the values
// where the reader points, taps or moves with the arrow keys. All texts come with the data; it computes no figure.

/** @typedef {import("../plot.js").Plot} Plot */
/** @typedef {import("../plot.js").PlotSeries} PlotSeries */
/** @typedef {{ root: HTMLElement, plot: Plot, chart: uPlot, tip: HTMLElement }} Drawn */

const HEIGHT = 220;
const Y_AXIS_WIDTH = 60;
/** On paper, where the width of a column is known and its size on the screen says nothing. */
const PRINT_WIDTHS = { half: 330, full: 680 };
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** The plot that the reader points at: the others of its group show where, but no values. @type {Drawn | undefined} */
let active;

/** @type {import("../plot.js").PlotData} */
const { lines, plots } = JSON.parse(byId("plot-data").textContent ?? "{}");
const spoken = byId("spoken");
const drawn = [...document.querySelectorAll("[data-plot]")].map((root) => draw(/** @type {HTMLElement} */ (root)));

for (const button of document.querySelectorAll("button[data-series]"))
  button.addEventListener("click", () => toggleSeries(/** @type {HTMLElement} */ (button)));

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const found = drawn.find(({ root }) => root === target);
    if (found && !isPrinting()) found.chart.setSize({ width: widthOf(found.root), height: HEIGHT });
  }
});
for (const { root } of drawn) resized.observe(root);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("beforeprint", () => setPrinting(true));
addEventListener("afterprint", () => setPrinting(false));
document.documentElement.dataset.drawn = String(drawn.length);

/** @param {HTMLElement} root @returns {Drawn} */
function draw(root) {
  const plot = /** @type {Plot} */ (plots[root.dataset.plot ?? ""]);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  // What is drawn last lies on top: that is the first of the legend.
  const series = plot.series.toReversed();
  const places = plot.x.names.map((_, place) => place);
  const data = /** @type {uPlot.AlignedData} */ ([places, ...series.map(({ values }) => values)]);
  const chart = new uPlot(optionsOf(plot, series, root), data, root);
  chart.over.append(tip);
  const entry = { root, plot, chart, tip };
  root.addEventListener("keydown", (event) => moveByKey(entry, event));
  root.addEventListener("blur", () => leave(entry));
  chart.over.addEventListener("mouseenter", () => setActive(entry));
  chart.over.addEventListener("mouseleave", () => leave(entry));
  return entry;
}

/** @param {Plot} plot @param {readonly PlotSeries[]} series @param {HTMLElement} root @returns {uPlot.Options} */
function optionsOf(plot, series, root) {
  const { x, y, shape } = plot;
  const color = (/** @type {string} */ name) => () => getComputedStyle(root).getPropertyValue(name).trim();
  const axis = {
    stroke: color("--muted"),
    font: FONT,
    labelFont: FONT,
    grid: { stroke: color("--grid"), width: 1 },
    ticks: { show: false },
  };
  const bars = uPlot.paths.bars?.({ size: [0.7, 40] });
  return {
    width: widthOf(root),
    height: HEIGHT,
    padding: [10, 10, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      sync: { key: root.dataset.group ?? plot.id },
      points: { size: 9 },
    },
    scales: {
      x: { time: false, range: [-0.5, x.names.length - 0.5] },
      y: { distr: y.scale === "log" ? 3 : 1, range: [y.low, y.high] },
    },
    axes: [
      {
        ...axis,
        label: x.label,
        labelSize: 18,
        size: 28,
        gap: 8,
        grid: { show: false },
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500],
        space: 12 + 7 * Math.max(...x.names.map((name) => name.length)),
        values: (_, splits) => splits.map((split) => x.names[split] ?? ""),
      },
      {
        ...axis,
        size: (_, labels) => axisWidthOf(labels ?? []),
        gap: 6,
        space: 28,
        values: (_, splits) => splits.map((split) => tickOf(plot, split)),
        ...(y.scale === "log" && { splits: () => decadesOf(y.low, y.high), filter: (_, splits) => splits }),
      },
    ],
    series: [
      {},
      ...series.map(({ style, label }) => {
        const { dash, width, points } = lines[style];
        const stroke = color(`--series-${style}`);
        const isBar = shape === "bars" && style !== "limit";
        return {
          label,
          stroke,
          width: isBar ? 0 : width,
          spanGaps: false,
          ...(isBar && bars && { paths: bars, fill: stroke }),
          ...(dash.length > 0 && { dash: [...dash] }),
          points: { show: (/** @type {uPlot} */ chart) => points && !isBar && hasRoom(chart), size: 5, fill: stroke },
        };
      }),
    ],
    hooks: { setCursor: [(chart) => showTip(chart)] },
  };
}

/** Whether points on the lines lie far enough from each other. @param {uPlot} chart */
function hasRoom(chart) {
  return chart.bbox.width / devicePixelRatio > 14 * chart.data[0].length;
}

/** Powers of ten, so few of them that their names do not touch. @param {number} low @param {number} high */
function decadesOf(low, high) {
  const [first, last] = [Math.round(Math.log10(low)), Math.round(Math.log10(high))];
  const step = Math.max(1, Math.ceil((last - first) / 6));
  const splits = [];
  for (let power = first; power <= last; power += step) splits.push(Number(`1e${power}`));
  return splits;
}

/** @param {Plot} plot @param {number} split */
function tickOf({ y }, split) {
  if (split === 0 || (y.zeroAtLow && split === y.low)) return `0${y.unit === "%" ? " %" : ""}`;
  const size = Math.abs(split);
  const isPlain = size >= 1e-3 && size < 1e5;
  const text = isPlain ? String(Number(split.toPrecision(6))) : split.toExponential(0).replace("e+", "e");
  return `${text.replace("-", "−")}${y.unit === "%" || y.unit === "dB" ? ` ${y.unit}` : ""}`;
}

/** As much as the longest label needs: none is cut. @param {readonly string[]} labels */
function axisWidthOf(labels) {
  return Math.max(Y_AXIS_WIDTH, 20 + 8 * Math.max(0, ...labels.map((label) => label.length)));
}

/** @param {Drawn} entry */
function setActive(entry) {
  if (active !== entry && active) active.tip.hidden = true;
  active = entry;
}

/** @param {Drawn} entry */
function leave(entry) {
  entry.tip.hidden = true;
  entry.chart.setCursor({ left: -10, top: -10 }, true);
}

/** @param {uPlot} chart */
function showTip(chart) {
  const entry = active;
  if (entry?.chart !== chart) return;
  const { tip, plot } = entry;
  const place = chart.cursor.idx;
  if (place === null || place === undefined || (chart.cursor.left ?? -1) < 0) {
    tip.hidden = true;
    return;
  }
  const shown = plot.series.filter(({ texts }, index) => texts[place] && chart.series[seriesIndex(plot, index)]?.show);
  const title = document.createElement("strong");
  title.textContent = plot.x.titles[place] ?? "";
  tip.replaceChildren(title, ...shown.map((series) => tipRow(series, place)));
  tip.hidden = false;
  const left = chart.valToPos(place, "x");
  const width = chart.over.clientWidth;
  const beside = left > width / 2 ? left - tip.offsetWidth - 12 : left + 12;
  // Rather over the names of the y axis than over the place that is pointed at.
  tip.style.left = `${Math.max(beside, 6 - Y_AXIS_WIDTH)}px`;
}

/** uPlot counts the x values as series 0, and ours are drawn in the opposite order. @param {Plot} plot @param {number} index */
function seriesIndex({ series }, index) {
  return series.length - index;
}

/** @param {PlotSeries} series @param {number} place */
function tipRow({ style, label, texts }, place) {
  const row = document.createElement("span");
  const [mark, name, value] = ["i", "span", "b"].map((tag) => document.createElement(tag));
  if (!mark || !name || !value) return row;
  mark.className = `mark series-${style}`;
  name.textContent = label;
  value.textContent = texts[place] ?? "";
  row.append(mark, name, value);
  return row;
}

/** @param {Drawn} entry @param {KeyboardEvent} event */
function moveByKey(entry, event) {
  const { chart, plot } = entry;
  const last = plot.x.names.length - 1;
  const place = entry.tip.hidden ? undefined : (chart.cursor.idx ?? undefined);
  /** @type {Record<string, number>} */
  const moves = {
    ArrowLeft: place === undefined ? last : Math.max(place - 1, 0),
    ArrowRight: place === undefined ? 0 : Math.min(place + 1, last),
    Home: 0,
    End: last,
  };
  if (event.key === "Escape") leave(entry);
  const next = moves[event.key];
  if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  setActive(entry);
  chart.setCursor({ left: chart.valToPos(next, "x"), top: 10 }, true);
  const values = plot.series.flatMap(({ label, texts }) => (texts[next] ? [`${label}: ${texts[next]}`] : []));
  spoken.textContent = `${plot.title}, ${plot.x.titles[next]}: ${values.join(", ")}`;
}

/** Hides or shows a series in the plots that its legend is for. @param {HTMLElement} button */
function toggleSeries(button) {
  const show = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(show));
  for (const { plot, chart } of drawn) {
    if (button.closest("figure")?.querySelector(`[data-plot="${plot.id}"]`) === null) continue;
    const index = plot.series.findIndex(({ style }) => style === button.dataset.series);
    if (index >= 0) chart.setSeries(seriesIndex(plot, index), { show });
  }
}

function isPrinting() {
  return document.documentElement.dataset.print !== undefined;
}

/** Paper is white, whatever the screen is. @param {boolean} printing */
function setPrinting(printing) {
  if (printing) document.documentElement.dataset.print = "";
  else delete document.documentElement.dataset.print;
  for (const { root, chart } of drawn) chart.setSize({ width: widthOf(root), height: HEIGHT });
  repaint();
}

function repaint() {
  // Bars keep their colour with their path: both are made anew.
  for (const { chart } of drawn) chart.redraw(true);
}

/** @param {HTMLElement} root */
function widthOf(root) {
  if (isPrinting()) return root.dataset.width === "half" ? PRINT_WIDTHS.half : PRINT_WIDTHS.full;
  return Math.max(root.clientWidth, 120);
}

/** @param {string} id */
function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`#${id} is missing`);
  return element;
}
