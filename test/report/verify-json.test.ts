// The JSON of a verification: keys that stay, and every value as it was measured.

import { describe, expect, test } from "vitest";
import { verifyJson } from "../../src/report/verify-json.js";
import { ARMS, armOf, LAYERS, RETRIEVAL, resultOf, VARIANTS, VERDICTS } from "./verify-fixture.js";

interface Json {
  readonly [key: string]: unknown;
}

function jsonOf(result = resultOf(), seconds = 1.23456): Json {
  return JSON.parse(verifyJson(result, seconds)) as Json;
}

/** Paths of all keys, lists by their first element: "arms[].kl.mean.low". */
function keysOf(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [path] : keysOf(value[0], `${path}[]`);
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([key, inner]) => keysOf(inner, path === "" ? key : `${path}.${key}`));
}

const SIDE_KEYS = ["sqnr_db", "saturated_share", "flushed_share", "saturated", "elements", "absmax"];

test("keys stay as they are", () => {
  const result = resultOf({ verdict: VERDICTS["keep-layers-in-16-bits"], retrieval: RETRIEVAL });
  expect(keysOf(jsonOf(result))).toEqual([
    ...[
      "schema_version",
      "checkpoint",
      "model_type",
      "provider",
      "computed_in",
      "dtype",
      "scale_source",
      "baseline",
      "windows",
      "tokens",
      "positions",
    ],
    "seconds",
    ...["max_perplexity_increase", "max_kl", "min_agreement", "min_retrieval"].map((key) => `thresholds.${key}`),
    ...["name", "passed", "sentence", "reasons[]", "layers[]", "flag", "more_tokens", "more_values"].map(
      (key) => `verdict.${key}`,
    ),
    ...["perplexity_ratio", "mean_kl"].map((key) => `noise_floor.${key}`),
    ...["name", "description", "perplexity", "perplexity_error"].map((key) => `arms[].${key}`),
    ...["value", "low", "high"].map((key) => `arms[].perplexity_ratio.${key}`),
    "arms[].no_difference",
    ...["mean.value", "mean.low", "mean.high", "median", "p99", "max"].map((key) => `arms[].kl.${key}`),
    "arms[].agreement",
    ...["value", "low", "high"].map((key) => `arms[].agreement_interval.${key}`),
    ...["layer", "k_scale", "v_scale"].map((key) => `arms[].layers[].${key}`),
    ...["k", "v"].flatMap((side) => SIDE_KEYS.map((key) => `arms[].layers[].${side}.${key}`)),
    ...["layer", "mean_kl", "perplexity_ratio", "agreement"].map((key) => `layer_effects[].${key}`),
    ...["first", "end", "positions", "mean_kl.exact", "mean_kl.fp8", "mean_kl.fp8-at-1"].map(
      (key) => `position_bins[].${key}`,
    ),
    ...["texts", "tokens", "longest_text", "lines", "values", "is_telling"].map((key) => `retrieval.${key}`),
    ...["name", "found", "nats"].map((key) => `retrieval.arms[].${key}`),
    ...["found_share", "kept_share", "extra_nats"].flatMap((key) =>
      ["value", "low", "high"].map((end) => `retrieval.arms[].${key}.${end}`),
    ),
    ...["first", "end", "values"].map((key) => `retrieval.depths[].${key}`),
    ...["found", "nats"].flatMap((key) =>
      ["16-bit", "exact", "fp8", "fp8-at-1", "e5m2"].map((arm) => `retrieval.depths[].${key}.${arm}`),
    ),
    "generation.max_new_tokens",
    ...["prompt", "parts_at"].map((key) => `generation.texts[].${key}`),
    ...["bits_16", "fp8"].flatMap((cache) =>
      ["text", "token_ids[]", "ended_by"].map((key) => `generation.texts[].${cache}.${key}`),
    ),
    ...["bits_16", "fp8"].flatMap((cache) =>
      [
        ...["arm", "description", "stored_as", "bytes_per_token", "bytes_per_token_by_layer[]"],
        ...["tokens_per_second", "time_includes_prompts"],
      ].map((key) => `generation.caches.${cache}.${key}`),
    ),
    "warnings[]",
  ]);
});

describe.each(Object.entries(VARIANTS))("a result %s", (_name, result) => {
  test("has all of the same keys at the top, and is one document that ends with a line break", () => {
    expect(Object.keys(jsonOf(result))).toEqual(Object.keys(jsonOf()));
    expect(verifyJson(result, 1)).toMatch(/^\{\n[\s\S]+\n\}\n$/);
  });
});

test("values are as they were measured, digit by digit", () => {
  const [arm] = jsonOf(resultOf({ arms: ARMS.filter(({ name }) => name === "fp8") })).arms as Json[];
  const [layer] = LAYERS;
  expect(arm).toMatchObject({
    name: "fp8",
    description: "float8_e4m3fn, kv_scale",
    perplexity: 12.361,
    perplexity_error: 0.1234,
    perplexity_ratio: { value: 1.0013, low: 1.0009, high: 1.0017 },
    no_difference: false,
    kl: { mean: { value: 0.00312 }, max: 0.00312 * 80 },
    agreement: 0.9812,
  });
  expect(arm?.layers).toMatchObject([{ k_scale: layer?.kScale, k: { sqnr_db: 31.52, saturated: 0 } }, {}, {}, {}]);
});

test("what is not there is null, never missing", () => {
  const json = jsonOf(
    resultOf({ scaleSource: undefined, generation: undefined, arms: [armOf("16-bit")], verdict: VERDICTS.ship }),
  );
  expect(json).toMatchObject({
    scale_source: null,
    retrieval: null,
    generation: null,
    noise_floor: null,
    verdict: { flag: null },
  });
  expect(jsonOf()).toMatchObject({ generation: { texts: [{ parts_at: null }, { parts_at: 1 }] } });
});

test("what JSON has no number for is null", () => {
  const [, , lossless, overflowed] = (jsonOf().arms as { layers: { k: Json }[] }[])[0]?.layers ?? [];
  expect([lossless?.k.sqnr_db, overflowed?.k.sqnr_db]).toEqual([null, null]);
});

test("an arm is not held against the noise that it is", () => {
  const noise = armOf("exact", { ratio: [1.01, 1.005, 1.015] });
  const fp8 = armOf("fp8", { ratio: [1.002, 1.001, 1.003] });
  const arms = jsonOf(resultOf({ arms: [noise, armOf("16-bit"), fp8] })).arms as Json[];
  expect(arms.map(({ no_difference }) => no_difference)).toEqual([false, true, true]);
});

test("seconds are rounded to milliseconds", () => {
  expect(jsonOf().seconds).toBe(1.235);
});
