// What a plot shows, as data: the contract between the report that computes it and the script in the page that draws it.
// Types alone.

/** How a series is drawn, and its colour in the page's style: `--series-<style>`. */
export type SeriesStyle =
  | "exact"
  | "16-bit"
  | "fp8"
  | "fp8-at-1"
  | "e5m2"
  | "measured"
  | "range"
  | "range-at-1"
  | "limit"
  | "kept";

export interface PlotLine {
  /** Pixels drawn and left out by turns; empty for a line without gaps. */
  readonly dash: readonly number[];
  readonly width: number;
  readonly points: boolean;
}

export interface PlotSeries {
  readonly style: SeriesStyle;
  readonly label: string;
  /** By place on the x axis; null where there is nothing to draw. */
  readonly values: readonly (number | null)[];
  /** What the values are in words, also of those that are not drawn. */
  readonly texts: readonly string[];
}

export interface PlotAxis {
  /** Such as "dB". */
  readonly unit: string;
  readonly scale: "linear" | "log";
  readonly low: number;
  readonly high: number;
  /** Whether 0 lies at the low end of a log axis, where no logarithm would put it. */
  readonly zeroAtLow: boolean;
}

export interface Plot {
  /** Unique in the page. */
  readonly id: string;
  readonly title: string;
  /** In words, for those who cannot see it. */
  readonly description: string;
  readonly shape: "lines" | "bars";
  /** What the places are; a short name of each for the axis, and a full one. */
  readonly x: { readonly label: string; readonly names: readonly string[]; readonly titles: readonly string[] };
  readonly y: PlotAxis;
  /** In the order of the legend; the first is drawn above the others. */
  readonly series: readonly PlotSeries[];
}

/** What the page holds for its script. */
export interface PlotData {
  readonly lines: Readonly<Record<SeriesStyle, PlotLine>>;
  readonly plots: Readonly<Record<string, Plot>>;
}
