// A key of config.json that a family reads has an effect: another value changes the description, or is refused. One that
// is read and does nothing would be a setting that is passed over in silence. Over every golden checkpoint's config.json.

import { isDeepStrictEqual } from "node:util";
import { expect, test } from "vitest";
import type { Decoder } from "../../src/architectures/description.js";
import { describeConfig } from "../../src/architectures/registry.js";
import { KvScalesError } from "../../src/errors.js";
import { configOf, DECODER_GOLDENS, DIALECTS, GOLDEN_NAMES, type Json } from "../helpers/golden-checkpoints.js";
import { valueAt, withValueAt } from "../helpers/json-paths.js";

/** Keys that are read where some other values change nothing, as `model_type: path`, each with the reason. */
const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  "cohere2_moe: prefix_dense_sliding_window_pattern": "where layer_types is there, it matters only whether this is 1",
  "ernie4_5_moe: moe_layer_start_index": "a layer that moe_layer_interval leaves out has no experts in any case",
  "ernie4_5_moe: moe_layer_end_index": "behind the last layer there is none",
  "ernie4_5_vl_moe: text_config.moe_intermediate_size": "the second number is the width of experts that read images",
};

/** Values of the same kind that a person might write instead. */
function othersOf(value: unknown): unknown[] {
  if (typeof value === "boolean") return [!value];
  if (typeof value === "number" && !Number.isFinite(value)) return [1];
  if (typeof value === "number") return [value + 1, value === 0 ? 0.5 : 2 * value];
  if (typeof value === "string") return [`${value}_of_another_kind`];
  if (Array.isArray(value)) return value.length === 0 ? [[1]] : othersOfList(value);
  return [];
}

/** One entry at a time changed, and one entry less. */
function othersOfList(list: readonly unknown[]): unknown[] {
  const changed = list.flatMap((entry, index) => othersOf(entry).map((other) => list.with(index, other)));
  return [...changed, list.slice(1)];
}

/** Undefined when the config is refused. */
function decoderOf(config: Json): Decoder | undefined {
  try {
    return describeConfig(config).decoder;
  } catch (error) {
    if (error instanceof KvScalesError) return undefined;
    throw error;
  }
}

/** Other values that change nothing, of keys that were read. */
function withoutEffect(config: Json): { readonly key: string; readonly change: string }[] {
  const { decoder, readPaths } = describeConfig(config);
  return readPaths.flatMap((path) => {
    const keys = path.split(".");
    const value = valueAt(config, keys);
    const idle = othersOf(value).filter((other) =>
      isDeepStrictEqual(decoderOf(withValueAt(config, keys, other) as Json), decoder),
    );
    const key = `${config.model_type}: ${path}`;
    return idle.map((other) => ({ key, change: `${JSON.stringify(value)} to ${JSON.stringify(other)}` }));
  });
}

const CONFIGS = [...GOLDEN_NAMES, ...DECODER_GOLDENS].flatMap((name) => DIALECTS.map((dialect) => ({ name, dialect })));

const excused = new Set<string>();

test.each(CONFIGS)("$name/$dialect: another value of a key that is read has an effect", ({ name, dialect }) => {
  const found = withoutEffect(configOf(name, dialect));
  for (const { key } of found) if (Object.hasOwn(WITHOUT_EFFECT, key)) excused.add(key);
  expect(found.filter(({ key }) => !Object.hasOwn(WITHOUT_EFFECT, key))).toEqual([]);
});

test("every exception is needed", () => {
  expect(Object.keys(WITHOUT_EFFECT).filter((key) => !excused.has(key))).toEqual([]);
});
