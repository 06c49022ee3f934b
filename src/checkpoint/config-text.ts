// Changes keys of config.json in its text, so that every other key, its order, number and indentation stay as they are.
// Knows which blocks of config.json are this program's own; knows nothing of engines.

import { isDeepStrictEqual } from "node:util";
import { applyEdits, modify } from "jsonc-parser";
import { UnsupportedModelError } from "../errors.js";
import { OUTPUT_FORMATS, type OutputFormat } from "./output-formats.js";

/**
 * config.json for the given keys. Keys that another format of this program wrote before are removed.
 * @throws UnsupportedModelError when a quantization_config that is not this program's would have to go
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
  let patched = text;
  for (const key of keysOfAllFormats()) {
    if (key in config && !(key in keys) && !(key === "quantization_config" && hasForeignQuantization(config))) {
      patched = setKey(patched, key, undefined);
    }
  }
  for (const [key, value] of Object.entries(keys)) patched = setKey(patched, key, value);
  return patched;
}

/** Whether config.json has a quantization_config that this program did not write. */
export function hasForeignQuantization(config: Readonly<Record<string, unknown>>): boolean {
  const block = config.quantization_config ?? undefined;
  return block !== undefined && !ownBlocks().some((own) => isDeepStrictEqual(own, block));
}

/** Whether config.json has the block that makes vLLM expect k_scale and v_scale. */
export function hasOwnQuantization(config: Readonly<Record<string, unknown>>): boolean {
  return config.quantization_config !== undefined && !hasForeignQuantization(config);
}

function quantizationMethod(config: Readonly<Record<string, unknown>>): string {
  const block = config.quantization_config as { quant_method?: unknown };
  return String(block.quant_method ?? "of unknown method");
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

function setKey(text: string, key: string, value: unknown): string {
  const indent = /\n([ \t]+)"/.exec(text)?.[1] ?? "  ";
  const insertSpaces = !indent.startsWith("\t");
  const formattingOptions = { insertSpaces, tabSize: insertSpaces ? indent.length : 1, eol: "\n" };
  return applyEdits(text, modify(text, [key], value, { formattingOptions }));
}
