// How far serving goes beyond calibration: from the maxima per prompt, the level of every side (K or V of a cache site) that
// a number of tokens exceeds with a stated probability. docs/serving-levels.md has the method. Knows no pipeline, no model.

import { type BlockMaxima, quantileOf, reducedVariate } from "./extreme-values.js";
import { posteriorAt, type WeightedPoint } from "./level-posterior.js";
import { medianOf } from "./median.js";

export interface ServingQuestion {
  /** Tokens that are going to be served. */
  readonly tokens: number;
  /** Probability with which a level may be exceeded, of each side of each site: above 0, below 1. */
  readonly exceedance: number;
}

export interface ServingLevel {
  /** Largest maximum of the prompts. */
  readonly measured: number;
  /** What serving exceeds with the asked probability; from `measured` to 2 × `measured`. */
  readonly level: number;
  /** 95 % interval of the level that infinitely many prompts would give, within the same bounds. */
  readonly interval: readonly [low: number, high: number];
  /** Probability that serving exceeds `measured`. */
  readonly exceeding: number;
}

export interface ServingLevels {
  readonly kind: "levels";
  /** In the order of the sides. */
  readonly levels: readonly ServingLevel[];
  /** Shape of the extreme value distribution: 0 is Gumbel's, below it tails end somewhere. */
  readonly shape: number;
}

export interface TooFewMaxima {
  readonly kind: "too-few";
  /** What was expected and what was found. */
  readonly why: string;
}

export type ServingForecast = ServingLevels | TooFewMaxima;

/** With fewer, kinds of text are missing that serving will have, and what they leave open takes more room than 1.4 times. */
export const FEWEST_PROMPTS = 24;
/** A few tokens of each prompt say nothing of texts. */
const FEWEST_TOKENS = 1000;
/** In E4M3 twice the room costs nothing that can be measured; more begins to push small values below the normal ones. */
export const LARGEST_HEADROOM = 2;
/**
 * Gumbel's. Fitted shapes are below 0 (a tail that ends), but then levels were exceeded two to four times as often as asked:
 * the highest maxima of a mixture of texts are not of the tail that its bulk shows.
 */
export const SHAPE = 0;
/** The lowest maxima count as "at most this": they are of texts that do not matter here, and would widen the scale. */
const CENSORED_SHARE = 0.25;
/** Location and scale of fewer different maxima are guesses. */
const FEWEST_VALUES = 5;
const INTERVAL = [0.025, 0.975] as const;
/** Halvings of the range of levels: as many digits as float32 has, and more. */
const HALVINGS = 30;

/**
 * Forecasts the maxima of serving.
 * @param sides maxima per prompt of each side of each site, finite and not negative: [sides][prompts]
 * @param lengths tokens of each prompt: [prompts]
 */
export function forecastServing(
  sides: readonly (readonly number[])[],
  lengths: readonly number[],
  question: ServingQuestion,
): ServingForecast {
  const few = fewPrompts(lengths);
  if (few !== undefined) return few;
  const meanLength = sum(lengths) / lengths.length;
  const sizes = lengths.map((length) => length / meanLength);
  const asked = { size: question.tokens / meanLength, exceedance: question.exceedance };
  const fitted = sides.map((values) => {
    const maxima = censorLowest(values, sizes);
    return maxima && levelOf(Math.max(...values), posteriorAt(maxima, SHAPE), asked);
  });
  const known = fitted.filter((level) => level !== undefined);
  if (known.length === 0) return tooFew(`prompts with ${FEWEST_VALUES} different maxima`, "less: are they one text?");
  const levels = fitted.map((level, side) => level ?? typicalLevel(Math.max(...(sides[side] ?? [])), known));
  return { kind: "levels", levels, shape: SHAPE };
}

/**
 * What is known before anything is measured: too few prompts, whatever their maxima.
 * @param lengths tokens of each prompt
 */
export function fewPrompts(lengths: readonly number[]): TooFewMaxima | undefined {
  if (lengths.length < FEWEST_PROMPTS) return tooFew(`${FEWEST_PROMPTS} prompts`, lengths.length);
  const tokens = sum(lengths);
  return tokens < FEWEST_TOKENS ? tooFew(`${FEWEST_TOKENS} tokens`, tokens) : undefined;
}

function tooFew(expected: string, found: number | string): TooFewMaxima {
  return { kind: "too-few", why: `expected ${expected} or more, found ${found}` };
}

/**
 * The maxima as a fit takes them; undefined where too few differ. The lowest are known only to be at most the smallest of the
 * others. All of a value belong to them together: one that many prompts share is of a token that they share, and hides what
 * the rest of their text reached.
 */
function censorLowest(values: readonly number[], sizes: readonly number[]): BlockMaxima | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const highestCensored = sorted[Math.floor(values.length * CENSORED_SHARE) - 1] ?? Number.NEGATIVE_INFINITY;
  const isAbove = (_: number, index: number) => (values[index] ?? Number.NaN) > highestCensored;
  const above = values.filter(isAbove);
  if (new Set(above).size < FEWEST_VALUES) return undefined;
  const sizesAbove = sizes.filter(isAbove);
  const censoredSize = sum(sizes) - sum(sizesAbove);
  return { values: above, sizes: sizesAbove, threshold: Math.min(...above), censoredSize };
}

interface AskedBlock {
  /** Tokens to serve, in prompts of mean length. */
  readonly size: number;
  readonly exceedance: number;
}

/** A level is not below what was measured: the prompts are text as it is served, so that much room is known to be needed. */
function levelOf(measured: number, points: readonly WeightedPoint[], { size, exceedance }: AskedBlock): ServingLevel {
  const highest = LARGEST_HEADROOM * measured;
  // Weights add up to one but for rounding.
  const exceeding = (level: number) =>
    Math.min(1, sum(points.map((point) => point.weight * exceedanceOf(point, level, size))));
  const level = whereFalls(exceeding, exceedance, measured, highest);
  const quantiles = points.map((point) => ({ value: quantileOf(point, size, exceedance), weight: point.weight }));
  const [low, high] = INTERVAL.map((share) => {
    const value = weightedQuantile(quantiles, share);
    return Math.min(Math.max(value, measured), highest);
  }) as [number, number];
  // A level that is to be exceeded very rarely lies above 95 % of what the prompts leave open.
  return { measured, level, interval: [Math.min(low, level), Math.max(high, level)], exceeding: exceeding(measured) };
}

/**
 * For a side whose maxima hardly differ, because one token that all prompts share is larger than the rest: as much room as
 * the median of the other sides has.
 */
function typicalLevel(measured: number, others: readonly ServingLevel[]): ServingLevel {
  const typical = (of: (level: ServingLevel) => number) => medianOf(others.map(of));
  const ratio = (of: (level: ServingLevel) => number) =>
    measured * typical((other) => (other.measured === 0 ? 1 : of(other) / other.measured));
  return {
    measured,
    level: ratio(({ level }) => level),
    interval: [ratio(({ interval }) => interval[0]), ratio(({ interval }) => interval[1])],
    exceeding: typical(({ exceeding }) => exceeding),
  };
}

function exceedanceOf({ location, scale, shape }: WeightedPoint, level: number, size: number): number {
  return -Math.expm1(-size * Math.exp(-reducedVariate((level - location) / scale, shape)));
}

/** Where a falling function reaches a value, between two ends. */
function whereFalls(of: (x: number) => number, value: number, from: number, to: number): number {
  if (of(from) <= value) return from;
  if (of(to) >= value) return to;
  let [low, high] = [from, to];
  for (let halving = 0; halving < HALVINGS; halving++) {
    const middle = (low + high) / 2;
    if (of(middle) > value) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

interface WeightedValue {
  readonly value: number;
  readonly weight: number;
}

/** Where the running total of weights reaches a share of one. */
function weightedQuantile(values: readonly WeightedValue[], share: number): number {
  let seen = 0;
  for (const { value, weight } of values.toSorted((a, b) => a.value - b.value)) {
    seen += weight;
    if (seen >= share) return value;
  }
  return Number.POSITIVE_INFINITY;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
