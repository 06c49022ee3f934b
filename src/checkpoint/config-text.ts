// Edits keys of config.json in its text, so that all other keys, their order, numbers and indentation stay unchanged.
// Knows which blocks are this program's own; knows nothing of engines.

import { isDeepStrictEqual } from "node:util";
import { applyEdits, findNodeAtLocation, modify, parseTree } from "jsonc-parser";
import { UnsupportedModelError } from "../errors.js";
import { isObject, withFiniteNumbers } from "./json-text.js";
import { OUTPUT_FORMATS, type OutputFormat } from "./output-formats.js";

/**
 * config.json for the given keys. Keys that another format of this program wrote before are removed.
 * @throws UnsupportedModelError when a quantization_config of another program would have to be replaced
 */
export function patchConfigText(
  text: string,
  config: Readonly<Record<string, unknown>>,
  keys: Readonly<Record<string, unknown>>,
): string {
  if ("quantization_config" in keys && hasForeignQuantization(config)) {
    throw new UnsupportedModelError(
      `config.json: has a quantization_config already (${quantizationMethod(config)}), and this format needs one of its own. Use --format tgi or tgi-separate, which leave it as it is.`,
    );
  }
  // White space at the end would be scanned again for each key.
  let patched = text.trimEnd();
  const rest = text.slice(patched.length);
  for (const key of keysOfAllFormats()) {
    if (key in config && !(key in keys) && (key !== "quantization_config" || hasOwnQuantization(config))) {
      patched = removeKey(patched, key);
    }
  }
  for (const [key, value] of Object.entries(keys)) patched = setKey(patched, key, value);
  return patched + rest;
}

/** Whether config.json has a quantization_config that this program did not write. */
export function hasForeignQuantization(config: Readonly<Record<string, unknown>>): boolean {
  return (config.quantization_config ?? undefined) !== undefined && !hasOwnQuantization(config);
}

function hasOwnQuantization(config: Readonly<Record<string, unknown>>): boolean {
  return ownBlocks().some((own) => isDeepStrictEqual(own, config.quantization_config));
}

function quantizationMethod(config: Readonly<Record<string, unknown>>): string {
  const block = config.quantization_config;
  return isObject(block) && typeof block.quant_method === "string" ? block.quant_method : "of unknown method";
}

function keysOfAllFormats(): Set<string> {
  return new Set(allConfigs().flatMap((config) => Object.keys(config)));
}

function ownBlocks(): unknown[] {
  return allConfigs().flatMap((config) => config.quantization_config ?? []);
}

function allConfigs(): Readonly<Record<string, unknown>>[] {
  return Object.values(OUTPUT_FORMATS).map((format: OutputFormat) => format.config("float8_e4m3fn"));
}

function removeKey(text: string, key: string): string {
  return applyEdits(text, modify(withFiniteNumbers(text), [key], undefined, {}));
}

/** Writes the value in the style of its surroundings: on its own lines with their indentation, or on the same line. */
function setKey(text: string, key: string, value: unknown): string {
  const [, newline = "", indent = ""] = /(\r?\n)([ \t]+)"/.exec(text) ?? [];
  const valueText = JSON.stringify(value, null, indent).replaceAll("\n", newline + indent);
  const property = `${newline}${indent}${JSON.stringify(key)}: ${valueText}`;
  const root = parseTree(withFiniteNumbers(text));
  const present = root && findNodeAtLocation(root, [key]);
  if (present) return splice(text, present.offset, present.length, valueText);
  const last = root?.children?.at(-1);
  if (last) return splice(text, last.offset + last.length, 0, `,${property}`);
  return splice(text, text.indexOf("{") + 1, 0, property);
}

function splice(text: string, offset: number, length: number, replacement: string): string {
  return text.slice(0, offset) + replacement + text.slice(offset + length);
}
