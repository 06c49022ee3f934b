// Plots made of named values: every text that they show, what they are in words, and what cannot be drawn. Pure; knows no
// results.

import { formatNats, nameOf } from "../metrics/figures.js";
import type { Plot, SeriesStyle } from "./plot.js";
import { placeOn } from "./plot-axis.js";

/** Plots that belong together, under a title: pointing at a place in one points at it in all. */
export interface PlotGroup {
  readonly id: string;
  readonly title: string;
  /** What is shown, in a sentence or two. */
  readonly explanation: string;
  /** What is to be seen in it. */
  readonly findings: readonly string[];
  readonly plots: readonly Plot[];
}

/** A series before it is known which axis it shares. */
export interface NamedValues {
  readonly style: SeriesStyle;
  readonly label: string;
  /** By place; undefined where another series has the value. */
  readonly values: readonly (number | undefined)[];
  readonly format: (value: number) => string;
}

/** A plot of series on an axis that is known. */
export function plotOf(
  { id, title, x, y, shape = "lines" }: Pick<Plot, "id" | "title" | "x" | "y"> & Partial<Pick<Plot, "shape">>,
  series: readonly NamedValues[],
): Plot {
  return {
    id,
    title,
    description: `${title} by ${x.label}. ${series.map((one) => describeSeries(one, x.titles)).join(" ")}`,
    shape,
    x,
    y,
    series: series.map(({ style, label, values, format }) => ({
      style,
      label,
      values: values.map((value) => (value === undefined ? null : placeOn(y, value))),
      texts: values.map((value) => (value === undefined ? "" : format(value))),
    })),
  };
}

/** "fp8: from 31.4 dB (layer 2) to 31.6 dB (layer 0)." */
function describeSeries({ label, values, format }: NamedValues, titles: readonly string[]): string {
  const places = values.flatMap((value, place) =>
    value !== undefined && Number.isFinite(value) ? [{ value, place }] : [],
  );
  const sorted = places.toSorted((a, b) => a.value - b.value);
  const [first, last] = [sorted.at(0), sorted.at(-1)];
  if (first === undefined || last === undefined) return `${label}: nothing to draw.`;
  if (first.value === last.value) return `${label}: ${format(first.value)}.`;
  const end = ({ value, place }: { value: number; place: number }) => `${format(value)} (${titles[place]})`;
  return `${label}: from ${end(first)} to ${end(last)}.`;
}

export function definedOf(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined);
}

/** Which places have nothing to draw, and what stands there instead. */
export function undrawnSentences(plots: readonly Plot[]): string[] {
  return plots.flatMap(({ title, x, series }) =>
    series.flatMap(({ label, values, texts }) => {
      const places = texts.flatMap((text, place) => (text !== "" && values[place] === null ? [place] : []));
      if (places.length === 0) return [];
      const kinds = [...new Set(places.map((place) => texts[place]))].join(", ");
      const where = places.map((place) => x.names[place]).join(", ");
      return [`Not drawn: ${title}, ${label}, ${x.label} ${where} (${kinds}).`];
    }),
  );
}

/** Formats what is in nats, such as a KL divergence. */
export function formatDivergence(value: number): string {
  return Number.isFinite(value) ? `${formatNats(value)} nats` : nameOf(value);
}
