// The config.json files of published checkpoints, as their owners wrote them, against false refusals. real-configs/ has
// them, a line each: the checkpoint, where its config.json was found, and the config. Towers of pictures and sound are
// abbreviated there.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ARCHITECTURES, describeConfig } from "../../src/architectures/registry.js";
import { WRAPPERS } from "../../src/architectures/wrappers.js";
import { UnsupportedModelError } from "../../src/errors.js";
import type { Json } from "../helpers/golden-checkpoints.js";

interface RealConfig {
  readonly checkpoint: string;
  readonly source: string;
  readonly config: Json;
}

const REAL_CONFIGS = readFileSync(new URL("real-configs/configs.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as RealConfig);

/** Refused with reason, by checkpoint: what the message says. */
const REFUSED: Readonly<Record<string, RegExp>> = {};

/** Weights in forms that are not read: of MLX. */
const UNREAD_KEY = "quantization";

function isSupported({ config }: RealConfig): boolean {
  const modelType = String(config.model_type);
  return Object.hasOwn(ARCHITECTURES, modelType) || Object.hasOwn(WRAPPERS, modelType);
}

const supported = REAL_CONFIGS.filter(isSupported);
const quantized = supported.filter(({ config }) => Object.hasOwn(config, UNREAD_KEY));
const described = supported.filter((one) => !quantized.includes(one) && !Object.hasOwn(REFUSED, one.checkpoint));

test.each(described)("$checkpoint is described", ({ config }) => {
  const { decoder } = describeConfig(config);
  expect(decoder.layers.length).toBeGreaterThan(0);
});

test.each(quantized)("$checkpoint is refused for its quantization, and described without it", ({ config }) => {
  expect(() => describeConfig(config)).toThrow(UnsupportedModelError);
  expect(() => describeConfig(config)).toThrow(
    /^config\.json: quantization(_config)?: .*--assume-harmless quantization/,
  );
  const assumeHarmless = ["quantization_config", UNREAD_KEY].filter((key) => Object.hasOwn(config, key));
  expect(() => describeConfig(config, { assumeHarmless })).not.toThrow();
});

test.each(Object.entries(REFUSED))("%s is refused: %s", (checkpoint, reason) => {
  const real = supported.find((one) => one.checkpoint === checkpoint);
  expect(() => describeConfig(real?.config ?? {})).toThrow(reason);
});

test.each(REAL_CONFIGS.filter((one) => !isSupported(one)))(
  "$checkpoint is of no supported model_type",
  ({ config }) => {
    expect(() => describeConfig(config)).toThrow(/model_type ".+" is not supported/);
  },
);

test("they are many, of most architectures", () => {
  const modelTypes = new Set(described.map(({ config }) => String(config.model_type)));
  expect(described.length).toBeGreaterThanOrEqual(100);
  expect(modelTypes.size).toBeGreaterThanOrEqual(35);
});
