// Formats the figures of a verification for people. Pure: numbers in, short texts out.

import type { Interval } from "./block-mean.js";

/** 0.93126 → "93.13 %". A small value that would be rounded to 0 keeps its digits: 1.2e-6 → "0.00012 %". */
export function formatShare(share: number): string {
  return `${hundredths(share * 100)} %`;
}

/** A ratio as an increase: 1.0131 → "+1.31 %". */
export function formatIncrease(ratio: number): string {
  const percent = (ratio - 1) * 100;
  return `${percent > 0 ? "+" : ""}${hundredths(percent)} %`;
}

/** A limit exactly as it was given: 0.01 → "1 %". */
export function formatLimit(share: number): string {
  return `${Number((share * 100).toPrecision(12))} %`;
}

/** Nats, with three digits: "0.0123", "4.56e-5". */
export function formatNats(nats: number): string {
  if (!Number.isFinite(nats)) return nameOf(nats);
  const size = Math.abs(nats);
  if (size === 0) return "0";
  return size >= 1e-3 && size < 1e3 ? nats.toPrecision(3) : nats.toExponential(2);
}

/** "1.2 to 3.4" */
export function formatRange({ low, high }: Interval, format: (value: number) => string): string {
  return `${format(low)} to ${format(high)}`;
}

/** Words for what is not finite, short enough for a column. */
export function nameOf(value: number): string {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "-∞";
}

function hundredths(value: number): string {
  if (!Number.isFinite(value)) return nameOf(value);
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 1e-4)) return value.toExponential(1);
  return size >= 0.095 || size === 0 ? value.toFixed(2) : value.toPrecision(2);
}
