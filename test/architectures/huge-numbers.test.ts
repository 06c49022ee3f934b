// A number in config.json that is far beyond every real model is refused, or read, at once: nothing is made as often as it
// says. Over every number that a family reads, of every golden checkpoint's config.json.

import { expect, test } from "vitest";
import { describeConfig } from "../../src/architectures/registry.js";
import { KvScalesError } from "../../src/errors.js";
import { configOf, DECODER_GOLDENS, GOLDEN_NAMES, type Json, readGolden } from "../helpers/golden-checkpoints.js";
import { valueAt, withValueAt } from "../helpers/json-paths.js";

/** The first beyond 31 bits, and the largest integer of JavaScript. */
const NUMBERS = [2 ** 31, 2 ** 53 - 1];

/** Of the processor, for one description. A golden's own takes a few milliseconds. */
const TIME_LIMIT_MS = 1000;

/** Every config that has one of the numbers in the place of one that is read. */
function* configsWithHugeNumbers(config: Json): Generator<{ readonly what: string; readonly changed: Json }> {
  for (const path of describeConfig(config).readPaths) {
    const keys = path.split(".");
    const value = valueAt(config, keys);
    for (const number of NUMBERS) {
      const huge = typeof value === "number" ? number : Array.isArray(value) ? value.map(() => number) : undefined;
      if (huge === undefined || (Array.isArray(value) && !value.every((entry) => typeof entry === "number"))) continue;
      yield { what: `${path}: ${number}`, changed: withValueAt(config, keys, huge) as Json };
    }
  }
}

function millisecondsOf(config: Json): number {
  const start = process.cpuUsage();
  try {
    describeConfig(config);
  } catch (error) {
    if (!(error instanceof KvScalesError)) throw error;
  }
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

const QUANTIZED = ["fp8-block", "compressed-tensors-block", "modelopt-nvfp4"];
const CONFIGS: readonly (readonly [string, Json])[] = [
  ...[...GOLDEN_NAMES, ...DECODER_GOLDENS].map((name) => [name, configOf(name)] as const),
  ...QUANTIZED.map((name) => [`quantized ${name}`, readGolden<Json>(`quantized/${name}/config.json`)] as const),
];

test.each(CONFIGS)("%s", (_name, config) => {
  const slow = [...configsWithHugeNumbers(config)]
    .map(({ what, changed }) => ({ what, milliseconds: millisecondsOf(changed) }))
    .filter(({ milliseconds }) => milliseconds > TIME_LIMIT_MS);
  expect(slow).toEqual([]);
});

test("experts are counted over all layers, before they fill the memory", () => {
  const config = {
    ...configOf("qwen3_moe-plain"),
    num_hidden_layers: 10_000,
    num_experts: 512,
    num_local_experts: 512,
  };
  expect(() => describeConfig(config)).toThrow(/expected up to 200000 experts in all layers together/);
});
