// The difference of two checkpoints' scales as people read it in a terminal of 80 columns, and as JSON. Pure: text out.

import type { Colors } from "picocolors/types.js";
import { layerList } from "../numerics/layer-names.js";
import type { ComparedCheckpoint, Difference, LayerRatios } from "../pipeline/diff.js";

import { resultJson } from "./result-json.js";
import { type Shown, shown } from "./shown-text.js";

const NUMBER_WIDTH = 8;
const SIDES = ["k", "v", "kv"] as const;

/** The two checkpoints, the ratios by layer, and the largest. */
export function differenceReport(difference: Difference, colors: Colors): string {
  const { a, b, layers, onlyInA, onlyInB } = shown(difference);
  return [
    sideLine("a", a),
    sideLine("b", b),
    ...(a.dtype === b.dtype ? [] : ["The dtypes differ: ratios are of the absmax that the scales stand for."]),
    "",
    ...ratioTable(layers, colors),
    ...onlyLine("a", onlyInA),
    ...onlyLine("b", onlyInB),
    largestLine(difference),
    "",
  ].join("\n");
}

function sideLine(name: string, { folder, kinds, dtype }: Shown<ComparedCheckpoint>): string {
  return `${name}  ${folder}\n   ${kinds.join(", ")} for ${dtype}`;
}

function ratioTable(layers: readonly LayerRatios[], colors: Colors): string[] {
  const sides = SIDES.filter((side) => layers.some((layer) => layer[side] !== undefined));
  if (sides.length === 0) return ["No layer has scales of one kind in both."];
  const title = ["layer", ...sides.map((side) => `${side} b/a`.padStart(NUMBER_WIDTH))].join("  ");
  const rows = layers.map((layer) => {
    const cells = sides.map((side) => formatRatio(layer[side]).padStart(NUMBER_WIDTH));
    return [String(layer.layer).padStart(5), ...cells].join("  ");
  });
  return [colors.bold(title), ...rows];
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

/** The difference for machines. Keys are stable. */
export function differenceJson({ a, b, layers, onlyInA, onlyInB, largest }: Difference): string {
  const sideOf = ({ folder, dtype, kinds }: ComparedCheckpoint) => ({ checkpoint: folder, dtype, scales: kinds });
  const summary = {
    a: sideOf(a),
    b: sideOf(b),
    layers: layers.map(({ layer, k, v, kv }) => ({ layer, k: k ?? null, v: v ?? null, kv: kv ?? null })),
    only_in_a: onlyInA,
    only_in_b: onlyInB,
    largest: largest ?? null,
  };
  return resultJson(summary);
}
