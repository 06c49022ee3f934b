// The style of the HTML report: light and dark, wide and narrow, screen and paper. Colours of series are those of Okabe and
// Ito, which people who see fewer colours tell apart; lines differ in their dashes too.

import { PLOT_LINES } from "./plot-lines.js";

const LIGHT = `
  color-scheme: light;
  --page: #f7f7f5; --surface: #ffffff; --text: #1b1e23; --muted: #5a626d; --line: #dfe1e5; --grid: #e9ebee;
  --pass: #0a6e45; --pass-soft: #e7f4ed; --fail: #b3261e; --fail-soft: #fcebe9; --note: #7a5200; --note-soft: #fdf3dc;
  --mark: #fde3c4; --focus: #0b63c5;
  --series-fp8: #0072b2; --series-measured: #0072b2; --series-fp8-at-1: #d55e00; --series-e5m2: #009e73; --series-16-bit: #6b7280;
  --series-exact: #8b93a0; --series-range: #7b3f98; --series-range-at-1: #d55e00; --series-limit: #1b1e23; --series-kept: #e69f00;
`;

const DARK = `
  color-scheme: dark;
  --page: #101317; --surface: #181c22; --text: #e7e9ec; --muted: #a3abb6; --line: #2d333b; --grid: #262c34;
  --pass: #5fd39b; --pass-soft: #12291f; --fail: #ff8f80; --fail-soft: #321a18; --note: #f0c25a; --note-soft: #2c2412;
  --mark: #5a3a12; --focus: #7db7ff;
  --series-fp8: #56b4e9; --series-measured: #56b4e9; --series-fp8-at-1: #ff9248; --series-e5m2: #2fcf9f; --series-16-bit: #9aa3af;
  --series-exact: #7d8794; --series-range: #cf9be8; --series-range-at-1: #ff9248; --series-limit: #e7e9ec; --series-kept: #f0c25a;
`;

export const PAGE_STYLE = `
:root {${LIGHT}}
@media (prefers-color-scheme: dark) { :root:not([data-print]) {${DARK}} }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 74rem; padding: 2.5rem clamp(1rem, 4vw, 3rem) 4rem; background: var(--page);
  color: var(--text); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
h1, h2, h3, h4, p, ul, figure, dl, dd, pre { margin: 0; padding: 0; }
h1 { font-size: clamp(1.6rem, 5vw, 2.25rem); line-height: 1.2; letter-spacing: -0.015em; }
h2 { font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; margin-bottom: 0.75rem; }
h3 { font-size: 1.05rem; line-height: 1.4; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.92em; }
small { font-size: 0.8125rem; font-weight: 400; color: var(--muted); }
section { margin-top: 3rem; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 4px; }
.kicker { color: var(--muted); font-size: 0.8125rem; font-weight: 600; letter-spacing: 0.06em; text-transform: uppercase; }
.path, .muted { color: var(--muted); font-size: 0.875rem; }
.path { margin-top: 0.25rem; }
.path, h1, .facts dd, .prompt, .answer p, .warning { overflow-wrap: anywhere; }
.next { margin-top: 0.9rem; }
.next strong { font-weight: 650; }
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.icon { flex: none; fill: none; stroke: currentColor; stroke-width: 2.5; stroke-linecap: round; stroke-linejoin: round; }

.verdict { margin-top: 1.5rem; padding: 1.25rem 1.5rem; border-radius: 12px; border: 1px solid var(--line);
  border-left: 6px solid var(--state); background: var(--state-soft); }
.passed { --state: var(--pass); --state-soft: var(--pass-soft); }
.failed { --state: var(--fail); --state-soft: var(--fail-soft); }
.open { --state: var(--note); --state-soft: var(--note-soft); }
.badge { display: flex; flex-wrap: wrap; align-items: center; gap: 0.4rem; color: var(--state); font-weight: 700; }
.badge code { font-weight: 400; }
.sentence { margin: 0.35rem 0 0.75rem; font-size: 1.2rem; font-weight: 600; line-height: 1.4; }
.verdict ul { padding-left: 1.15rem; }
.verdict li { margin: 0.15rem 0; }
.verdict ul + p { margin-top: 0.75rem; }
.flag { margin-top: 0.25rem; padding: 0.6rem 0.8rem; border-radius: 8px; background: var(--surface);
  border: 1px solid var(--line); white-space: pre-wrap; user-select: all; }
.flag span { display: inline-block; max-width: 100%; overflow-wrap: anywhere; vertical-align: top; }
.warning, .note { margin-top: 1rem; padding: 0.7rem 1rem; border-radius: 8px; border-left: 4px solid var(--note);
  background: var(--note-soft); font-size: 0.9375rem; }
.warning strong { color: var(--note); }
.warning.calm { border: 1px solid var(--line); background: var(--surface); }
.warning.calm strong { color: inherit; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem; margin-top: 1rem; list-style: none; }
.tile { display: flex; flex-direction: column; padding: 1rem 1.25rem; border: 1px solid var(--line); border-radius: 12px;
  background: var(--surface); }
.tile-title { color: var(--muted); font-size: 0.875rem; }
.tile-value { font-size: 1.7rem; font-weight: 650; line-height: 1.3; letter-spacing: -0.01em; }
.tile-range { color: var(--muted); font-size: 0.8125rem; }
.meter { display: block; width: 100%; height: 6px; margin: 0.75rem 0 0.5rem; border-radius: 3px; overflow: hidden; }
.meter-all { fill: var(--line); }
.meter-used { fill: var(--state); }
.tile-limit { display: flex; align-items: center; gap: 0.3rem; color: var(--state); font-size: 0.8125rem; }
.tile-limit .icon { width: 14px; height: 14px; }
.tile-used { color: var(--muted); font-size: 0.8125rem; }

.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 12px; background: var(--surface); }
table { border-collapse: collapse; width: 100%; font-size: 0.9375rem; overflow-wrap: normal; }
caption { padding: 0.9rem 1rem 0.4rem; color: var(--muted); font-size: 0.875rem; text-align: left; }
th, td { padding: 0.5rem 1rem; border-top: 1px solid var(--line); text-align: right; vertical-align: top; }
thead th { border-top: 0; color: var(--muted); font-size: 0.8125rem; font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; }
tbody th { font-weight: 600; }
th small { display: block; }
.judged > * { background: color-mix(in srgb, var(--series-fp8) 9%, transparent); }
td, .whole { white-space: nowrap; }
.limits > * { color: var(--muted); font-weight: 400; }
.beyond { margin-left: 0.3rem; padding: 0.05rem 0.45rem; border-radius: 999px; background: var(--fail-soft); color: var(--fail);
  font-size: 0.75rem; font-weight: 600; white-space: nowrap; }
.beyond.calm { background: var(--grid); color: var(--muted); }
.figures caption { padding: 0; }
.figures { font-size: 0.8125rem; white-space: nowrap; }
.figures th, .figures td { padding: 0.3rem 0.75rem; }
.figures thead th { white-space: normal; }
.figures .sides > * { padding-bottom: 0; border: 0; }
.figures .sides th { text-align: center; }
.figures th:first-child { position: sticky; left: 0; background: var(--surface); }
details { margin-top: 1rem; }
summary { padding: 0.35rem 0; color: var(--muted); font-size: 0.9375rem; cursor: pointer; }

figure + figure { margin-top: 2.5rem; }
figcaption p { max-width: 46rem; color: var(--muted); font-size: 0.9375rem; }
figcaption .finding, .finding { color: var(--text); font-size: 0.9375rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 0.5rem; margin: 0.6rem 0; }
.legend button { display: inline-flex; align-items: center; gap: 0.4rem; padding: 0.2rem 0.6rem; border: 1px solid var(--line);
  border-radius: 999px; background: var(--surface); color: inherit; font: inherit; font-size: 0.8125rem; cursor: pointer; }
.legend button[aria-pressed="false"] { opacity: 0.5; text-decoration: line-through; }
.swatch { flex: none; stroke: var(--series); stroke-width: 2.5; }
.mark { display: inline-block; width: 0.7em; height: 0.7em; margin-right: 0.45em; border-radius: 3px; background: var(--series); }
${Object.keys(PLOT_LINES)
  .map((name) => `.series-${name} { --series: var(--series-${name}); }`)
  .join("\n")}
.plots { display: grid; gap: 1rem; }
.plots.half { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.plots.full { grid-template-columns: minmax(0, 1fr); }
.plot { min-width: 0; padding: 0.75rem 0.5rem 0.5rem; border: 1px solid var(--line); border-radius: 12px; background: var(--surface); }
.plot-title { padding-left: 0.6rem; font-size: 0.875rem; font-weight: 600; }
.canvas { min-height: 220px; overflow: hidden; }
.u-wrap { touch-action: pan-y; }
.u-hz .u-cursor-x { border-right: 1px solid var(--muted); }
.tip { position: absolute; top: 4px; z-index: 10; display: grid; gap: 0.1rem; padding: 0.45rem 0.65rem; max-width: 17rem;
  border: 1px solid var(--line); border-radius: 8px; background: var(--surface); box-shadow: 0 4px 14px rgb(0 0 0 / 0.18);
  font-size: 0.8125rem; line-height: 1.4; pointer-events: none; }
.tip[hidden] { display: none; }
.tip span { display: flex; align-items: baseline; gap: 0.3rem; }
.tip .mark { flex: none; margin: 0; }
.tip b { margin-left: auto; padding-left: 0.8rem; white-space: nowrap; }

.generated { margin-top: 1rem; padding: 1rem 1.25rem; border: 1px solid var(--line); border-radius: 12px; background: var(--surface); }
.prompt { max-height: 7.5rem; overflow: auto; font-weight: 600; white-space: pre-wrap; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 1rem; margin: 0.75rem 0; }
.answer h4 { color: var(--muted); font-size: 0.8125rem; }
.answer p { font-size: 0.9375rem; white-space: pre-wrap; }
mark { padding-left: 2px; border-left: 3px solid var(--series-fp8-at-1); background: var(--mark); color: inherit; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 0.6rem 2rem; margin-bottom: 1rem; }
.facts div { display: grid; grid-template-columns: 8rem minmax(0, 1fr); gap: 0.5rem; }
dt { color: var(--muted); }

@media (max-width: 44rem) {
  body { padding-top: 1.5rem; }
  section { margin-top: 2.25rem; }
  .plots.half { grid-template-columns: minmax(0, 1fr); }
  .verdict { padding: 1rem; }
  .tiles { grid-template-columns: minmax(0, 1fr); gap: 0.6rem; }
  .facts div { grid-template-columns: 6.5rem minmax(0, 1fr); }
  .cards, .cards tbody, .cards caption { display: block; }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .cards tr { display: block; padding: 0.7rem 1rem; border-top: 1px solid var(--line); }
  .cards th, .cards td { display: block; padding: 0; border: 0; text-align: left; background: none; }
  .cards td { display: grid; grid-template-columns: 7.5rem minmax(0, 1fr); gap: 0.5rem; }
  .cards td::before { content: attr(data-title); color: var(--muted); }
  .cards td.empty { display: none; }
  .cards .judged { background: color-mix(in srgb, var(--series-fp8) 9%, transparent); }
}

@media print {
  html, body { background: #ffffff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .verdict, .tile, figure, .generated, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; }
  .figures { font-size: 7.5pt; }
  .figures th, .figures td { padding: 0.15rem 0.3rem; }
  .plots.half { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tip, .u-cursor-x, .u-cursor-pt { display: none; }
}
`;
