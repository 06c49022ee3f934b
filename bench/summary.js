// From runs to what is told of them: medians, share of the device's peak, how far two programs' absmax differ. Pure.

import { lastAttention, weightsOfToken } from "./checkpoint-shapes.js";

/**
 * @typedef {import("./programs.js").Run} Run
 * @typedef {import("./programs.js").Program} Program
 * @typedef {import("./programs.js").LayerAbsmax} LayerAbsmax
 * @typedef {{ median: number, least: number, most: number }} Spread
 *
 * @typedef {object} ProgramRow what one program did with one set of prompts
 * @property {number} prompts
 * @property {number} tokens of each prompt, or of the longest
 * @property {number} [shortest] tokens of the shortest, where lengths differ
 * @property {string} program
 * @property {string} how
 * @property {Spread} wallSeconds
 * @property {Spread} loadSeconds
 * @property {Spread} computeSeconds
 * @property {Spread} tokensPerSecond
 * @property {number | null} shareOfPeak of the linear layers' arithmetic; null when the peak was not measured
 * @property {number | null} devicePeakBytes largest of the runs
 * @property {number | null} hostPeakBytes largest of the runs
 * @property {LayerAbsmax[]} absmax
 *
 * @typedef {object} TimeRatios the first program's time over the second's, of the runs of one round
 * @property {Spread} forward
 * @property {Spread} wall
 *
 * @typedef {object} AbsmaxDifference
 * @property {number} layer
 * @property {"k" | "v"} side
 * @property {number} relative to the second program's value
 */

/**
 * Arithmetic of the linear layers for one token: a multiplication and an addition per weight. Attention itself, which
 * depends on the length, is left out, and so is the embedding, which is a look-up.
 * @param {import("./checkpoint-shapes.js").Shape} config @param {Program["lastLayer"]} lastLayer
 */
export function flopsPerToken(config, lastLayer) {
  const { layers, keysValues } = weightsOfToken(config);
  const whole = lastLayer === "layer" ? layers : layers.slice(0, lastAttention(config));
  return 2 * whole.reduce((sum, layer) => sum + layer, lastLayer === "layer" ? 0 : keysValues);
}

/**
 * @param {Program} program @param {import("./rows.js").Row} row @param {readonly Run[]} runs at least one
 * @param {{ config: Parameters<typeof flopsPerToken>[0], peak: number | undefined }} device peak in FLOP/s
 * @returns {ProgramRow}
 */
export function summarize({ name, how, lastLayer }, row, runs, { config, peak }) {
  const tokensPerSecond = spreadOf(runs.map((run) => run.tokens / run.computeSeconds));
  return {
    ...row,
    program: name,
    how,
    wallSeconds: spreadOf(runs.map((run) => run.wallSeconds)),
    loadSeconds: spreadOf(runs.map((run) => run.loadSeconds)),
    computeSeconds: spreadOf(runs.map((run) => run.computeSeconds)),
    tokensPerSecond,
    shareOfPeak: peak === undefined ? null : (tokensPerSecond.median * flopsPerToken(config, lastLayer)) / peak,
    devicePeakBytes: largest(runs.map((run) => run.devicePeakBytes)),
    hostPeakBytes: largest(runs.map((run) => run.hostPeakBytes)),
    absmax: runs.at(-1)?.absmax ?? [],
  };
}

/** @param {readonly Run[]} ours @param {readonly Run[]} theirs @returns {TimeRatios} */
export function timeRatios(ours, theirs) {
  /** @param {(run: Run) => number} secondsOf */
  const ratios = (secondsOf) =>
    spreadOf(
      ours.flatMap((run, round) => (theirs[round] === undefined ? [] : [secondsOf(run) / secondsOf(theirs[round])])),
    );
  return { forward: ratios(({ computeSeconds }) => computeSeconds), wall: ratios(({ wallSeconds }) => wallSeconds) };
}

/** @param {readonly number[]} values at least one @returns {Spread} */
export function spreadOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (/** @type {number} */ index) => sorted[index] ?? Number.NaN;
  const middle = (sorted.length - 1) / 2;
  const median = (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2;
  return { median, least: at(0), most: at(sorted.length - 1) };
}

/** @param {readonly (number | null)[]} values */
function largest(values) {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/**
 * Where two programs' absmax are furthest apart. A layer that one of them lacks, or a value that is not a number, is
 * infinitely far.
 * @param {readonly LayerAbsmax[]} ours @param {readonly LayerAbsmax[]} theirs @returns {AbsmaxDifference}
 */
export function largestDifference(ours, theirs) {
  /** @type {AbsmaxDifference} */
  let found = { layer: 0, side: "k", relative: 0 };
  for (let layer = 0; layer < Math.max(ours.length, theirs.length, 1); layer++) {
    for (const side of /** @type {const} */ (["k", "v"])) {
      const [a, b] = [ours[layer]?.[side] ?? Number.NaN, theirs[layer]?.[side] ?? Number.NaN];
      const difference = Math.abs(a - b) / Math.abs(b);
      const relative = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
      if (relative > found.relative) found = { layer, side, relative };
    }
  }
  return found;
}
