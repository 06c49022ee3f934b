// Plots over layers: the range of K and V that enter the cache, and the error of each cache, K beside V. Pure: results
// in, data and sentences out; knows no HTML.

import { nounFor } from "../counted.js";
import type { Fidelity } from "../metrics/cache-fidelity.js";
import { formatShare, nameOf } from "../metrics/figures.js";
import { FLOAT8_CODES } from "../numerics/float8.js";
import type { ArmName, ArmResult, LayerFidelity, VerifyResult } from "../pipeline/verify-result.js";
import type { Plot } from "./plot.js";
import { axisFor } from "./plot-axis.js";
import { definedOf, type NamedValues, type PlotGroup, plotOf } from "./plot-series.js";
import { formatValue } from "./text.js";
import { formatDecibels, subjectOf } from "./verify-figures.js";

type Side = "k" | "v";
const SIDES: readonly Side[] = ["k", "v"];

/** A figure of one side of a layer that is compared between arms. */
interface Measure {
  readonly id: string;
  readonly title: string;
  readonly explanation: string;
  readonly unit: string;
  readonly canBeLog: boolean;
  readonly names: readonly ArmName[];
  readonly figureOf: (fidelity: Fidelity) => number;
  readonly format: (value: number) => string;
  readonly worst: "Lowest" | "Most";
}

const MEASURES: readonly Measure[] = [
  {
    id: "sqnr",
    title: "Signal to quantization noise (SQNR)",
    explanation: "How much stronger K and V are than the error of rounding them. 6 dB more is half the error.",
    unit: "dB",
    canBeLog: false,
    names: ["fp8", "fp8-at-1", "e5m2", "16-bit"],
    figureOf: ({ sqnr }) => sqnr,
    format: formatDecibels,
    worst: "Lowest",
  },
  {
    id: "saturated",
    title: "Saturated",
    explanation: "Share of elements beyond the largest value of the format, cut down to it.",
    unit: "%",
    canBeLog: true,
    names: ["fp8", "fp8-at-1", "e5m2"],
    figureOf: ({ saturatedShare }) => saturatedShare * 100,
    format: formatPercent,
    worst: "Most",
  },
  {
    id: "flushed",
    title: "Flushed to zero",
    explanation: "Share of elements too small for the format, which became 0.",
    unit: "%",
    canBeLog: true,
    names: ["fp8", "fp8-at-1", "e5m2"],
    figureOf: ({ flushedShare }) => flushedShare * 100,
    format: formatPercent,
    worst: "Most",
  },
];

function formatPercent(percent: number): string {
  return formatShare(percent / 100);
}

/** One group for each figure, K and V on the same axis. None when there are no layers. */
export function layerPlotGroups(result: VerifyResult): readonly PlotGroup[] {
  const subject = subjectOf(result);
  if (subject === undefined || subject.layers.length === 0) return [];
  return [absmaxGroup(subject, result), ...MEASURES.map((measure) => measureGroup(measure, subject, result))];
}

function absmaxGroup(subject: ArmResult, { dtype }: VerifyResult): PlotGroup {
  const { largest } = FLOAT8_CODES[dtype];
  const { layers } = subject;
  const format = (value: number) => (Number.isFinite(value) ? formatValue(value) : nameOf(value));
  const withScales = subject.name === "fp8";
  const limitOf = (layer: LayerFidelity, side: Side) => largest * (side === "k" ? layer.kScale : layer.vScale);
  const series = (side: Side): NamedValues[] => [
    { style: "measured", label: "largest in the text", values: layers.map((layer) => layer[side].absmax), format },
    ...(withScales
      ? [
          {
            style: "range",
            label: "limit with the scales",
            values: layers.map((layer) => limitOf(layer, side)),
            format,
          } as const,
        ]
      : []),
    { style: "range-at-1", label: `limit at scale 1.0 (${largest})`, values: layers.map(() => largest), format },
  ];
  return {
    id: "absmax",
    title: "Largest values (absmax)",
    explanation: "The largest |K| and |V| that entered the cache, and the largest that it can hold.",
    findings: [
      beyondSentence(layers, () => largest, `${largest}, the limit at scale 1.0`),
      ...(withScales ? [beyondSentence(layers, limitOf, "the limit with the checkpoint's scales")] : []),
    ],
    plots: sidePlots("absmax", layers, series, "", true),
  };
}

function beyondSentence(
  layers: readonly LayerFidelity[],
  limitOf: (layer: LayerFidelity, side: Side) => number,
  name: string,
): string {
  const parts = SIDES.flatMap((side) => {
    // Written so that NaN exceeds every limit.
    const beyond = layers.filter((layer) => !(layer[side].absmax <= limitOf(layer, side)));
    return beyond.length === 0 ? [] : [`${side.toUpperCase()} in ${layersText(beyond.map(({ layer }) => layer))}`];
  });
  return parts.length === 0 ? `Nothing is beyond ${name}.` : `Beyond ${name}: ${parts.join("; ")}.`;
}

/** [0, 1, 2, 5] → "layers 0–2, 5" */
export function layersText(layers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const layer of layers) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === layer - 1) run[1] = layer;
    else runs.push([layer, layer]);
  }
  const names = runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  return `${nounFor(layers.length, "layer")} ${names.join(", ")}`;
}

/** The measured arms with these names, the judged one first. */
export function subjectFirst(
  names: readonly ArmName[],
  subject: ArmResult | undefined,
  arms: readonly ArmResult[],
): readonly ArmResult[] {
  const named = names.flatMap((name) => arms.filter((arm) => arm.name === name));
  return [...named.filter((arm) => arm === subject), ...named.filter((arm) => arm !== subject)];
}

function measureGroup(measure: Measure, subject: ArmResult, { arms }: VerifyResult): PlotGroup {
  const { id, title, explanation, unit, canBeLog, figureOf, format, worst } = measure;
  const compared = subjectFirst(measure.names, subject, arms);
  const isNone = worst === "Most" && subject.layers.every(({ k, v }) => figureOf(k) === 0 && figureOf(v) === 0);
  const series = (side: Side): NamedValues[] =>
    compared.map(({ name, layers }) => ({
      style: name,
      label: name,
      values: layers.map((layer) => figureOf(layer[side])),
      format,
    }));
  return {
    id,
    title,
    explanation,
    findings: [
      isNone
        ? `Nothing in the ${subject.name} cache.`
        : `${worst} in the ${subject.name} cache: ${SIDES.map((side) => worstOf(measure, subject, side)).join("; ")}.`,
    ],
    plots: sidePlots(id, subject.layers, series, unit, canBeLog),
  };
}

/** "K 31.5 dB in layer 3"; NaN is the worst. */
function worstOf({ figureOf, format, worst }: Measure, { layers }: ArmResult, side: Side): string {
  const badness = (layer: LayerFidelity) => {
    const value = figureOf(layer[side]);
    if (Number.isNaN(value)) return Number.POSITIVE_INFINITY;
    return worst === "Lowest" ? -value : value;
  };
  const found = layers.reduce((most, layer) => (badness(layer) > badness(most) ? layer : most));
  const value = figureOf(found[side]);
  if (value === 0 && worst === "Most") return `${side.toUpperCase()} none`;
  return `${side.toUpperCase()} ${format(value)} in layer ${found.layer}`;
}

function sidePlots(
  id: string,
  layers: readonly LayerFidelity[],
  seriesOf: (side: Side) => readonly NamedValues[],
  unit: string,
  canBeLog: boolean,
): Plot[] {
  const all = SIDES.map(seriesOf);
  const y = axisFor(definedOf(all.flat().flatMap(({ values }) => values)), unit, canBeLog);
  const names = layers.map(({ layer }) => `${layer}`);
  const x = { label: "layer", names, titles: names.map((name) => `Layer ${name}`) };
  return SIDES.map((side, index) => plotOf({ id: `${id}-${side}`, title: side.toUpperCase(), x, y }, all[index] ?? []));
}
