// The difference of two checkpoints' scales as people read it in a terminal, and as JSON. Pure: text out.

import { layerList } from "../numerics/layer-names.js";
import type { ComparedCheckpoint, Difference, LayerRatios } from "../pipeline/diff.js";
import { resultJson } from "./result-json.js";
import type { Screen } from "./screen.js";
import { type Shown, shown } from "./shown-text.js";
import { tableLines } from "./table.js";
import { wrapText } from "./wrapped-text.js";

const SIDES = ["k", "v"] as const;

/** The two checkpoints, the ratios by layer, and the largest. */
export function differenceReport(difference: Difference, screen: Screen): string {
  const { a, b, layers, onlyInA, onlyInB } = shown(difference);
  return [
    sideLine("a", a),
    sideLine("b", b),
    ...(a.dtype === b.dtype
      ? []
      : [wrapText("The dtypes differ: ratios are of the absmax that the scales stand for.", screen.width)]),
    "",
    ...ratioTable(layers, screen),
    ...onlyLine("a", onlyInA),
    ...onlyLine("b", onlyInB),
    largestLine(difference),
    ...limitLine(difference, screen),
    "",
  ].join("\n");
}

function sideLine(name: string, { folder, kinds, dtype, engine }: Shown<ComparedCheckpoint>): string {
  const how = engine === undefined ? "used by no engine that is known" : `as ${engine} uses them`;
  return `${name}  ${folder}\n   ${kinds.join(", ")} for ${dtype}, ${how}`;
}

function ratioTable(layers: readonly LayerRatios[], screen: Screen): string[] {
  const sides = SIDES.filter((side) => layers.some((layer) => layer[side] !== undefined));
  if (sides.length === 0) return ["No layer has scales in both."];
  return tableLines(
    [
      { title: "layer", cells: layers.map(({ layer }) => String(layer)) },
      ...sides.map((side) => ({ title: `${side} b/a`, cells: layers.map((layer) => formatRatio(layer[side])) })),
    ],
    screen,
  );
}

function formatRatio(ratio: number | undefined): string {
  if (ratio === undefined) return "–";
  return ratio >= 1e-3 && ratio < 1e4 ? ratio.toFixed(4) : ratio.toExponential(2);
}

function onlyLine(name: string, layers: readonly number[]): string[] {
  return layers.length === 0 ? [] : [`Only in ${name}: ${layerList(layers)}`];
}

function largestLine({ largest }: Difference): string {
  if (largest === undefined) return "Nothing to compare.";
  if (largest.ratio === 1) return "All scales stand for the same ranges.";
  return `Largest: ${largest.side} of layer ${largest.layer}, b/a ${formatRatio(largest.ratio)}`;
}

function limitLine({ maxRatio, beyond = [] }: Difference, { colors, width }: Screen): string[] {
  if (maxRatio === undefined) return [];
  if (beyond.length === 0) return [colors.green(`Every ratio is within ${maxRatio}.`)];
  return [colors.red(wrapText(`Not within ${maxRatio}: ${layerList(beyond)}`, width))];
}

/** The difference for machines. Keys are stable. */
export function differenceJson(difference: Difference): string {
  const { a, b, layers, onlyInA, onlyInB, largest, maxRatio, beyond } = difference;
  const sideOf = ({ folder, dtype, kinds, engine }: ComparedCheckpoint) => ({
    checkpoint: folder,
    dtype,
    scales: kinds,
    engine: engine ?? null,
  });
  const summary = {
    a: sideOf(a),
    b: sideOf(b),
    layers: layers.map(({ layer, k, v, kv }) => ({ layer, k: k ?? null, v: v ?? null, kv: kv ?? null })),
    only_in_a: onlyInA,
    only_in_b: onlyInB,
    largest: largest ?? null,
    max_ratio: maxRatio ?? null,
    beyond_max_ratio: beyond ?? null,
  };
  return resultJson(summary);
}
