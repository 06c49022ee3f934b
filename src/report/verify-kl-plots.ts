// Where the KL divergence of a verification comes from, as plots: over positions, and of each layer alone.
// Pure: results in, data and sentences out; knows no HTML.

import { formatCount } from "../counted.js";
import type { ArmName, LayerEffect, VerifyResult } from "../pipeline/verify-result.js";
import { axisFor } from "./plot-axis.js";
import { definedOf, formatDivergence as format, type NamedValues, type PlotGroup, plotOf } from "./plot-series.js";
import { subjectOf } from "./verify-figures.js";
import { layersText, subjectFirst } from "./verify-layer-plots.js";

/** A limit that is further above the values would flatten the plot, so it is described instead of drawn. */
const LARGEST_RATIO_TO_LIMIT = 4;

/** Arms with an FP8 cache come first. */
const NAMES: readonly ArmName[] = ["fp8", "fp8-at-1", "e5m2", "16-bit", "exact"];

/** The plot of each arm's mean KL divergence over positions; none when no arm was compared. */
export function positionPlotGroup(result: VerifyResult): PlotGroup | undefined {
  const { arms, positionBins, thresholds, baseline } = result;
  const compared = subjectFirst(NAMES, subjectOf(result), arms).filter(
    ({ name }) => name !== baseline && positionBins.some(({ meanKl }) => name in meanKl),
  );
  if (compared.length === 0) return undefined;
  const series: NamedValues[] = [
    ...compared.map(({ name }) => ({
      style: name,
      label: name,
      values: positionBins.map(({ meanKl }) => meanKl[name]),
      format,
    })),
    { style: "limit", label: "limit", values: positionBins.map(() => thresholds.maxKl), format },
  ];
  const x = {
    label: "from position",
    names: positionBins.map(({ first }) => formatCount(first)),
    titles: positionBins.map(({ first, end }) => `Positions ${formatCount(first)}–${formatCount(end - 1)}`),
  };
  const y = axisFor(definedOf(series.flatMap(({ values }) => values)), "nats", true);
  return {
    id: "positions",
    title: "Over positions",
    explanation: `Mean KL divergence from ${baseline} per token, by how many tokens lie before it: does a longer context cost more?`,
    findings: [],
    plots: [plotOf({ id: "positions", title: "Mean KL divergence", x, y }, series)],
  };
}

/** The plot of the mean KL divergence with FP8 in one layer alone; none unless that was measured. */
export function effectPlotGroup(result: VerifyResult): PlotGroup | undefined {
  const { layerEffects, thresholds, verdict } = result;
  if (layerEffects.length === 0) return undefined;
  const isKept = (layer: number) => verdict.layers.includes(layer);
  const effects = layerEffects.map(({ layer, meanKl }) => (isKept(layer) ? undefined : meanKl));
  const kept = layerEffects.map(({ layer, meanKl }) => (isKept(layer) ? meanKl : undefined));
  const costliest = layerEffects.reduce((most, effect) => (costOf(effect) > costOf(most) ? effect : most));
  const largest = Math.max(0, ...layerEffects.map(({ meanKl }) => meanKl).filter(Number.isFinite));
  const drawsLimit = thresholds.maxKl <= largest * LARGEST_RATIO_TO_LIMIT;
  const limits = layerEffects.map(() => thresholds.maxKl);
  const series: NamedValues[] = [
    { style: "measured", label: "FP8 in this layer alone", values: effects, format },
    ...(verdict.layers.length > 0
      ? [{ style: "kept", label: "the same, to be kept in 16 bits", values: kept, format } as const]
      : []),
    ...(drawsLimit ? [{ style: "limit", label: "limit of all together", values: limits, format } as const] : []),
  ];
  const names = layerEffects.map(({ layer }) => `${layer}`);
  const x = { label: "layer", names, titles: names.map((name) => `Layer ${name}`) };
  const y = axisFor(definedOf(series.flatMap(({ values }) => values)), "nats", false);
  const all = subjectOf(result)?.divergence.mean.value;
  return {
    id: "effects",
    title: "Each layer alone",
    explanation: "Mean KL divergence when one layer alone has an FP8 cache: which layer is to blame?",
    findings: [
      `Layer ${costliest.layer} costs most: ${format(costliest.meanKl)}${all === undefined ? "" : `; all together ${format(all)}`}.`,
      ...(drawsLimit ? [] : [`The limit of all together, ${format(thresholds.maxKl)}, lies far above.`]),
      ...(verdict.layers.length > 0 ? [`To be kept in 16 bits: ${layersText(verdict.layers)}.`] : []),
    ],
    plots: [plotOf({ id: "effects", title: "Mean KL divergence", x, y, shape: "bars" }, series)],
  };
}

/** A layer with a cost of NaN breaks the model. */
function costOf({ meanKl }: LayerEffect): number {
  return Number.isNaN(meanKl) ? Number.POSITIVE_INFINITY : meanKl;
}
