// What each cache retrieves, as plots over the depth of the value. Pure: results in, data and sentences out; knows no
// HTML.

import { formatNats, formatShare } from "../metrics/figures.js";
import type { ArmName, RetrievalResult } from "../pipeline/verify-result.js";
import { axisFor } from "./plot-axis.js";
import { definedOf, formatDivergence, type NamedValues, type PlotGroup, plotOf } from "./plot-series.js";
import { depthName, retrievalFinding, retrievalTask, type WithRetrieval } from "./verify-retrieval.js";

/** Arms with an FP8 cache come first, so that they are drawn above the others. */
const NAMES: readonly ArmName[] = ["fp8", "fp8-at-1", "e5m2", "16-bit", "exact"];

/** The plots of what is found, and of how likely it is. */
export function retrievalPlotGroup(result: WithRetrieval): PlotGroup {
  const { retrieval, baseline } = result;
  const { depths, arms } = retrieval;
  const names = NAMES.filter((name) => arms.some((arm) => arm.name === name));
  const x = {
    label: "depth",
    names: depths.map(({ first }) => `${first * 100} %`),
    titles: depths.map((depth) => `Depth ${depthName(depth)}`),
  };
  const seriesOf = (
    figureOf: (depth: (typeof depths)[number], name: ArmName) => number | undefined,
    format: (value: number) => string,
  ): NamedValues[] =>
    names.map((name) => ({ style: name, label: name, values: depths.map((depth) => figureOf(depth, name)), format }));
  const found = seriesOf(
    ({ found, values }, name) => (found[name] === undefined ? undefined : (100 * found[name]) / values),
    (percent) => formatShare(percent / 100),
  );
  const nats = seriesOf(({ nats }, name) => nats[name], formatDivergence);
  const axisOf = (series: readonly NamedValues[], unit: string, canBeLog: boolean) =>
    axisFor(definedOf(series.flatMap(({ values }) => values)), unit, canBeLog);
  return {
    id: "retrieval",
    title: "Retrieval",
    explanation: `${retrievalTask(retrieval)} Depth 0 % is the beginning of the text, 100 % where the questions begin. A value is found when all of its tokens are the most likely ones. Less likely values have more nats.`,
    findings: [retrievalFinding(result), ...extraFindings(retrieval, baseline)],
    plots: [
      plotOf({ id: "retrieval-found", title: "Values found", x, y: axisOf(found, "%", false) }, found),
      plotOf(
        { id: "retrieval-nats", title: "Negative log-likelihood of a value", x, y: axisOf(nats, "nats", true) },
        nats,
      ),
    ],
  };
}

/** Where a cache loses most, if one does. */
function extraFindings({ depths, arms, isTelling }: RetrievalResult, baseline: ArmName): string[] {
  if (!isTelling) return [];
  return arms.flatMap(({ name, extraNats }) => {
    if (name === baseline || !(extraNats.low > 0)) return [];
    const lossOf = ({ nats }: (typeof depths)[number]) => (nats[name] ?? Number.NaN) - (nats[baseline] ?? Number.NaN);
    const worst = depths.reduce((most, depth) => (lossOf(depth) > lossOf(most) ? depth : most));
    return [`${name} loses most at depth ${depthName(worst)}: ${formatNats(lossOf(worst))} nats.`];
  });
}
