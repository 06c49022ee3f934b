// How often levels for serving are exceeded by texts that were not calibrated on, beside bare maxima and a plain Gumbel fit.
// Prints the tables of docs/serving-levels.md. Needs the built program and the maxima of measure-maxima.js; runs no model.
//
//   node bench/serving-levels.js [--data bench/data/serving-maxima.json] [--seeds 20]

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isEnough } from "../dist/numerics/enough-text.js";
import { fitAtShape, quantileOf } from "../dist/numerics/extreme-values.js";
import { medianOf } from "../dist/numerics/median.js";
import { forecastServing } from "../dist/numerics/serving-levels.js";
import { roundEnds } from "../dist/pipeline/sample-rounds.js";
import { seededRandom, shuffle } from "../dist/prompts/seeded-random.js";

/** @typedef {{ lengths: number[], sides: number[][] }} Texts lengths in tokens: [prompts]; maxima: [sides][prompts] */
/** @typedef {import("../dist/numerics/serving-levels.js").ServingQuestion} Question */
/** @typedef {(texts: Texts, question: Question) => number[] | undefined} Method levels of all sides */

const EXCEEDANCE = 0.05;
const TIMES_THE_TOKENS = 10;
const SUBSETS = [16, 24, 32, 64];
/** What `--samples auto` is asked in the last table. */
const SERVED_TOKENS = 1_000_000;

const { values: options } = parseArgs({
  options: {
    data: { type: "string", default: fileURLToPath(new URL("./data/serving-maxima.json", import.meta.url)) },
    seeds: { type: "string", default: "20" },
  },
});
/** @type {Record<string, { shipped: Texts, fresh: Texts }>} */
const models = JSON.parse(readFileSync(options.data, "utf8"));
const seeds = Array.from({ length: Number(options.seeds) }, (_, seed) => seed);

/** @type {Record<string, Method>} */
const METHODS = {
  "bare maximum": ({ sides }) => sides.map((side) => Math.max(...side)),
  "Gumbel, maximum likelihood": (texts, question) => plainGumbel(texts, question),
  "this program": ({ sides, lengths }, question) => {
    const forecast = forecastServing(sides, lengths, question);
    return forecast.kind === "levels" ? forecast.levels.map(({ level }) => level) : undefined;
  },
};

for (const [model, { shipped, fresh }] of Object.entries(models)) {
  printCoverage(`${model}: calibrated on fresh texts, serving other fresh texts`, fresh, fresh);
  printCoverage(`${model}: calibrated on shipped prompts, serving fresh texts`, shipped, fresh);
  printCoverage(`${model}: calibrated on shipped prompts, serving other shipped prompts`, shipped, shipped);
}
printStops();

/** Share of sides that exceed their level, and the median of level over measured maximum. */
function printCoverage(/** @type {string} */ title, /** @type {Texts} */ calibration, /** @type {Texts} */ serving) {
  console.log(`\n${title}\n`);
  const names = Object.keys(METHODS);
  console.log(`| prompts | times the tokens | ${names.map((name) => `${name}: exceeded, headroom`).join(" | ")} |`);
  console.log(`| --- | --- | ${names.map(() => "---").join(" | ")} |`);
  for (const prompts of SUBSETS) {
    const draws = seeds.map((seed) => drawTexts(calibration, serving, prompts, seed));
    const times = mean(draws.map(({ known, served }) => tokensOf(served) / tokensOf(known)));
    const cells = Object.values(METHODS).map((method) => judge(method, draws));
    console.log(`| ${prompts} | ${times.toFixed(1)} | ${cells.join(" | ")} |`);
  }
}

/** A subset to calibrate on, and other texts of ten times its tokens, or as many as there are. */
function drawTexts(
  /** @type {Texts} */ calibration,
  /** @type {Texts} */ serving,
  /** @type {number} */ prompts,
  /** @type {number} */ seed,
) {
  const random = seededRandom(seed);
  const order = shuffle([...calibration.lengths.keys()], random);
  const known = pick(calibration, order.slice(0, prompts));
  const others = calibration === serving ? order.slice(prompts) : shuffle([...serving.lengths.keys()], random);
  const wanted = TIMES_THE_TOKENS * tokensOf(known);
  let tokens = 0;
  const chosen = others.filter((prompt) => {
    if (tokens >= wanted) return false;
    tokens += serving.lengths[prompt] ?? 0;
    return true;
  });
  return { known, served: pick(serving, chosen) };
}

function judge(/** @type {Method} */ method, /** @type {readonly { known: Texts, served: Texts }[]} */ draws) {
  const exceeded = [];
  const headroom = [];
  for (const { known, served } of draws) {
    const levels = method(known, { tokens: tokensOf(served), exceedance: EXCEEDANCE });
    if (levels === undefined) return "too few";
    for (const [side, level] of levels.entries()) {
      exceeded.push(Math.max(...(served.sides[side] ?? [])) > level ? 1 : 0);
      headroom.push(level / Math.max(...(known.sides[side] ?? [])));
    }
  }
  return `${(100 * mean(exceeded)).toFixed(1)} %, ${medianOf(headroom).toFixed(2)}`;
}

/** Without lengths, censoring or what few prompts leave open. @type {Method} */
function plainGumbel({ sides, lengths }, { tokens, exceedance }) {
  const size = (tokens * lengths.length) / tokensOf({ lengths, sides });
  return sides.map((values) => {
    if (new Set(values).size === 1) return Math.max(...values);
    const maxima = { values, sizes: values.map(() => 1), threshold: Number.NEGATIVE_INFINITY, censoredSize: 0 };
    return quantileOf(fitAtShape(maxima, 0), size, exceedance);
  });
}

/** Where `isEnough` stops over rounds of twice as many prompts, and how the levels of all prompts lie to those. */
function printStops() {
  console.log("\nRounds of prompts until they are enough; all: every prompt\n");
  console.log(
    "| model, texts | stops after prompts (of all) | of the tokens | levels of all within the stop's | moved |",
  );
  console.log("| --- | --- | --- | --- | --- |");
  for (const [model, { shipped, fresh }] of Object.entries(models)) {
    for (const [name, texts] of Object.entries({ shipped, fresh })) {
      const stops = seeds.map((seed) => stopOf(texts, seed));
      const counts = [...new Set(stops.map(({ prompts }) => prompts))].sort((a, b) => a - b).join(" or ");
      const cells = [
        `${counts} (${texts.lengths.length})`,
        percent(mean(stops.map(({ tokens }) => tokens))),
        percent(mean(stops.map(({ within }) => within))),
        percent(medianOf(stops.map(({ moved }) => moved))),
      ];
      console.log(`| ${model}, ${name} | ${cells.join(" | ")} |`);
    }
  }
}

function stopOf(/** @type {Texts} */ texts, /** @type {number} */ seed) {
  const order = shuffle([...texts.lengths.keys()], seededRandom(seed));
  const first = (/** @type {number} */ prompts) => pick(texts, order.slice(0, prompts));
  const forecast = (/** @type {number} */ prompts) => {
    const { sides, lengths } = first(prompts);
    return forecastServing(sides, lengths, { tokens: SERVED_TOKENS, exceedance: EXCEEDANCE });
  };
  const ends = roundEnds(order.length);
  const isLast = (/** @type {number} */ end, /** @type {number} */ round) =>
    round > 0 && isEnough(forecast(ends[round - 1] ?? 0), forecast(end));
  const prompts = ends.find(isLast) ?? order.length;
  const [stop, all] = [forecast(prompts), forecast(order.length)];
  if (stop.kind === "too-few" || all.kind === "too-few") throw new Error("too few prompts");
  const pairs = stop.levels.map((level, side) => ({ level, final: all.levels[side]?.level ?? Number.NaN }));
  const within = pairs.map(({ level, final }) => (final >= level.interval[0] && final <= level.interval[1] ? 1 : 0));
  return {
    prompts,
    tokens: tokensOf(first(prompts)) / tokensOf(texts),
    within: mean(within),
    moved: medianOf(pairs.map(({ level, final }) => Math.abs(final / level.level - 1))),
  };
}

/** @returns {Texts} */
function pick(/** @type {Texts} */ { lengths, sides }, /** @type {readonly number[]} */ prompts) {
  const of = (/** @type {number[]} */ values) => prompts.map((prompt) => values[prompt] ?? Number.NaN);
  return { lengths: of(lengths), sides: sides.map(of) };
}

function tokensOf(/** @type {Texts} */ { lengths }) {
  return lengths.reduce((sum, length) => sum + length, 0);
}

function mean(/** @type {readonly number[]} */ values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percent(/** @type {number} */ share) {
  return `${(100 * share).toFixed(1)} %`;
}
