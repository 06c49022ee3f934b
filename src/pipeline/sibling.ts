// The checkpoint that scales of another one are written onto: the same model, its weights in another form. Opens it, and
// checks that it is that model: config.json as it is understood, the layers with a cache, tokenizer, and the weights that
// both have in 16 bits. Cannot tell a fine-tune that left all of these as they were.

import { isDeepStrictEqual } from "node:util";
import { whyHarmless } from "../architectures/harmless-keys.js";
import { describeConfig } from "../architectures/registry.js";
import { attentionsByConfig } from "../checkpoint/attention-names.js";
import { compareTokenizers } from "../checkpoint/compare-tokenizers.js";
import { compareWeights, type Difference } from "../checkpoint/compare-weights.js";
import { isObject, showJson } from "../checkpoint/json-text.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { namesOf, type ScaleNames } from "../checkpoint/output-formats.js";
import { CheckpointError, KvScalesError } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { type LocatedModel, type LocateOptions, locateModel } from "./locate-model.js";

type Json = Readonly<Record<string, unknown>>;

export interface Sibling {
  readonly located: LocatedModel;
  readonly checkpoint: Checkpoint;
  /** Of the scales: as the sibling calls its attentions. */
  readonly names: ScaleNames;
  readonly warnings: readonly string[];
}

/** How many differences a message names. */
const NAMED = 5;

export interface Source {
  readonly checkpoint: Checkpoint;
  /** Of its caches. */
  readonly names: ScaleNames;
  /** Keys of config.json that the user says change nothing. */
  readonly assumeHarmless?: readonly string[] | undefined;
}

/**
 * Opens the checkpoint that scales of `source` are to be written onto.
 * @param options of that checkpoint
 * @throws CheckpointError when it is not the same model, naming what does not match; as `locate` and openCheckpoint
 */
export async function openSibling(
  { checkpoint: source, names, assumeHarmless = [] }: Source,
  { revision: _, ...options }: LocateOptions,
  locate: (options: LocateOptions) => Promise<LocatedModel> = locateModel,
): Promise<Sibling> {
  const located = await locate(options);
  const checkpoint = await untilInterrupted(options.signal, openCheckpoint(located.folder));
  const { found, differences } = namesInSibling(names, checkpoint);
  const tokenizers = await untilInterrupted(options.signal, compareTokenizers(source, checkpoint));
  const all = [
    ...configDifferences(source.config, checkpoint.config, assumeHarmless),
    ...differences,
    ...(typeof tokenizers === "object" ? [tokenizers] : []),
  ];
  // Tensors of another model would differ in everything.
  if (all.length === 0) {
    const nameOf = renaming(names, found);
    all.push(...(await untilInterrupted(options.signal, compareWeights(source, checkpoint, nameOf))));
  }
  if (all.length > 0) throw notTheSame(source, checkpoint, all);
  const warnings =
    tokenizers === "not compared"
      ? [
          `${checkpoint.folder}: its tokenizer could not be compared: the two have no file of one name with a vocabulary.`,
        ]
      : [];
  return { located, checkpoint, names: found, warnings: [...checkpoint.warnings, ...warnings] };
}

function notTheSame(source: Checkpoint, { folder }: Checkpoint, differences: readonly Difference[]): CheckpointError {
  const named = differences
    .slice(0, NAMED)
    .map(({ what, expected, found, file }) => `${what}: expected ${expected}, found ${found} (${file})`);
  const more = differences.length > NAMED ? [`and ${differences.length - NAMED} more`] : [];
  return new CheckpointError(
    `${folder}: is not the same model as ${source.folder}, so its K and V may be others: ${[...named, ...more].join("; ")}. Name the quantized form of that model, or calibrate this one itself.`,
  );
}

/** The sibling's names of the same caches, and the layers that do not match. */
function namesInSibling(
  names: ScaleNames,
  { tensors, config, shards }: Checkpoint,
): { readonly found: ScaleNames; readonly differences: readonly Difference[] } {
  const theirs = attentionsByConfig(tensors.keys(), config);
  const file = shards.map(({ name }) => name).join(", ");
  const differences: Difference[] = [];
  const expected = new Map([...names.values()].flat().map((name) => [withoutPrefix(name), name]));
  const byEnding = new Map([...theirs.values()].map((name) => [withoutPrefix(name), name]));
  for (const [ending, name] of expected) {
    if (!byEnding.has(ending)) differences.push({ what: "attention", expected: name, found: "none", file });
  }
  for (const [ending, name] of byEnding) {
    if (!expected.has(ending)) differences.push({ what: "attention", expected: "none", found: name, file });
  }
  const nameOf = (name: string) => byEnding.get(withoutPrefix(name)) ?? name;
  const found = [...names].map(([layer, [first, ...readers]]) => {
    return [layer, [nameOf(first), ...readers.map(nameOf)]] as const;
  });
  return { found: new Map(found), differences };
}

const LAYER = /(?<=^|\.)(?:layers|h|blocks|block)\.\d+\./;

/** `layers.3.self_attn` of `model.language_model.layers.3.self_attn`. */
function withoutPrefix(name: string): string {
  return name.slice(prefixOf(name).length);
}

function prefixOf(name: string): string {
  return name.slice(0, LAYER.exec(name)?.index ?? 0);
}

/** The sibling's name of a tensor: wrappers have another prefix in newer saves than in older ones. */
function renaming(ours: ScaleNames, theirs: ScaleNames): (name: string) => string {
  const [layer] = ours.keys();
  const [before, after] = [ours, theirs].map((names) =>
    layer === undefined ? "" : prefixOf(namesOf(names, layer)[0]),
  );
  return (name) => (name.startsWith(before ?? "") ? `${after}${name.slice(before?.length)}` : name);
}

/** Keys of config.json that differ, if the two describe different decoders. */
function configDifferences(ours: Json, theirs: Json, assumed: readonly string[]): Difference[] {
  const expected = describe(comparable(ours, ours), assumed);
  let found: unknown;
  let failure: unknown;
  try {
    found = describe(comparable(theirs, ours), assumed);
  } catch (error) {
    if (!(error instanceof KvScalesError)) throw error;
    failure = error;
  }
  if (isDeepStrictEqual(expected, found)) return [];
  const file = "config.json";
  const [a, b] = [leavesOf(comparable(ours, ours)), leavesOf(comparable(theirs, ours))];
  const keys = [...new Set([...a.keys(), ...b.keys()])].filter((key) => {
    const [mine, other] = [a.get(key), b.get(key)];
    return !isDeepStrictEqual(mine, other) && whyHarmless(key, other ?? mine) === undefined;
  });
  // Keys that one of the two leaves out have the default there, perhaps.
  const inBoth = keys.filter((key) => a.has(key) && b.has(key));
  const named = inBoth.length > 0 ? inBoth : keys;
  if (named.length === 0 && failure !== undefined) throw failure;
  if (named.length === 0) return [{ what: "decoder", expected: "the same", found: "another", file }];
  const show = (value: unknown) => (value === undefined ? "none" : showJson(value));
  return named.map((key) => ({ what: key, expected: show(a.get(key)), found: show(b.get(key)), file }));
}

function describe(config: Json, assumed: readonly string[]): unknown {
  const leaves = leavesOf(config);
  const there = assumed.filter(
    (key) => leaves.has(key) || [...leaves.keys()].some((leaf) => leaf.startsWith(`${key}.`)),
  );
  return describeConfig(config, { assumeHarmless: there }).decoder;
}

/** Keys that quantization adds or changes. */
const OF_QUANTIZATION = ["quantization_config", "compression_config", "tie_word_embeddings"];

/** config.json without what quantization changes; whether embeddings are tied is told by `source`. */
function comparable(config: Json, source: Json): Json {
  const kept = Object.entries(config).filter(([key]) => !OF_QUANTIZATION.includes(key));
  const tied = source.tie_word_embeddings;
  const text = isObject(config.text_config) && {
    text_config: comparable(config.text_config, isObject(source.text_config) ? source.text_config : {}),
  };
  return { ...Object.fromEntries(kept), ...(tied !== undefined && { tie_word_embeddings: tied }), ...text };
}

/** The values of a config by their keys, with dots for nested objects; null counts as absent. */
function leavesOf(config: Json, prefix = ""): Map<string, unknown> {
  const entries = Object.entries(config).flatMap(([key, value]): (readonly [string, unknown])[] => {
    if (value === null) return [];
    return isObject(value) ? [...leavesOf(value, `${prefix}${key}.`)] : [[`${prefix}${key}`, value]];
  });
  return new Map(entries);
}
