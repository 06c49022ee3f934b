// Edits keys of config.json in its text, so that all other keys, their order, numbers and indentation stay unchanged.
// Knows which keys and blocks are this program's own; knows nothing of engines.

import { isDeepStrictEqual } from "node:util";
import { applyEdits, findNodeAtLocation, modify, type Node, parseTree } from "jsonc-parser";
import { withFiniteNumbers } from "./json-text.js";
import { OUTPUT_FORMATS, type OutputFormat } from "./output-formats.js";
import { BLOCK_KEYS, valueAt } from "./quantization-block.js";
import { CACHE_SCHEMES } from "./quantized-forms.js";

type Json = Readonly<Record<string, unknown>>;

/**
 * config.json for the given keys; those of nested objects with dots. Keys that another format of this program wrote
 * before are removed.
 */
export function patchConfigText(text: string, config: Json, keys: Json): string {
  // White space at the end would be scanned again for each key.
  let patched = text.trimEnd();
  const rest = text.slice(patched.length);
  for (const key of ownKeys(config)) {
    if (!(key in keys)) patched = removeKey(patched, key);
  }
  for (const [key, value] of Object.entries(keys)) patched = setKey(patched, key, value);
  return patched + rest;
}

/**
 * config.json without what this program may have added to it: a scheme of null is one that it may have replaced. The
 * same text before a run and after it.
 */
export function configTextWithoutScales(text: string, config: Json): string {
  const schemes = schemeKeys().filter((key) => valueAt(config, key) === null);
  return schemes.reduce(removeKey, patchConfigText(text, config, {}));
}

/** Whether config.json has a quantization_config that this program did not write. */
export function hasForeignQuantization(config: Json): boolean {
  return (config.quantization_config ?? undefined) !== undefined && !isOwnBlock(config.quantization_config);
}

function isOwnBlock(block: unknown): boolean {
  return allConfigs().some(({ quantization_config: own }) => own !== undefined && isDeepStrictEqual(own, block));
}

/** The keys that config.json has from this program. */
function ownKeys(config: Json): string[] {
  const keys = [...new Set(allConfigs().flatMap((keys) => Object.keys(keys)))];
  const top = keys.filter((key) => key in config && (key !== "quantization_config" || isOwnBlock(config[key])));
  const nested = schemeKeys().filter((key) => {
    const isOfOwnBlock = isOwnBlock(valueAt(config, key.slice(0, key.lastIndexOf("."))));
    return !isOfOwnBlock && CACHE_SCHEMES.some((own) => isDeepStrictEqual(own, valueAt(config, key)));
  });
  return [...top, ...nested];
}

function schemeKeys(): string[] {
  return BLOCK_KEYS.map((key) => `${key}.kv_cache_scheme`);
}

function allConfigs(): Json[] {
  return Object.values(OUTPUT_FORMATS).map((format: OutputFormat) => format.config("float8_e4m3fn"));
}

function removeKey(text: string, key: string): string {
  return applyEdits(text, modify(withFiniteNumbers(text), key.split("."), undefined, {}));
}

/**
 * Sets a key of a JSON text, with dots for nested objects. The value is written in the style of its surroundings: on its
 * own lines with their indentation, or on the same line.
 * @throws RangeError when an object that should hold the key is not there
 */
export function setKey(text: string, key: string, value: unknown): string {
  const path = key.split(".");
  const name = path.pop() ?? "";
  const root = parseTree(withFiniteNumbers(text));
  const parent = root && (path.length === 0 ? root : findNodeAtLocation(root, path));
  if (root === undefined || parent?.type !== "object") throw new RangeError(`no object for ${key}`);
  const line = lineStart(text, parent);
  const { newline, indent } = line ?? { newline: "", indent: "" };
  const unit = line && lineStart(text, root)?.indent;
  const valueText = JSON.stringify(value, null, unit).replaceAll("\n", newline + indent);
  const property = `${newline}${indent}${JSON.stringify(name)}: ${valueText}`;
  const present = findNodeAtLocation(parent, [name]);
  if (present) return splice(text, present.offset, present.length, valueText);
  const last = parent.children?.at(-1);
  if (last) return splice(text, last.offset + last.length, 0, `,${property}`);
  return splice(text, parent.offset + 1, 0, property);
}

/** How the first key of an object begins its line; undefined where it stands on the line of the bracket. */
function lineStart(text: string, { offset, children }: Node): { newline: string; indent: string } | undefined {
  const [first] = children ?? [];
  const found = first && /(\r?\n)([ \t]+)$/.exec(text.slice(offset, first.offset));
  return found ? { newline: found[1] ?? "", indent: found[2] ?? "" } : undefined;
}

function splice(text: string, offset: number, length: number, replacement: string): string {
  return text.slice(0, offset) + replacement + text.slice(offset + length);
}
