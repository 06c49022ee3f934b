// hf_quant_config.json, which NVIDIA's ModelOpt writes beside config.json: its quantization, and what it says of the KV
// cache. Knows no engine.

import { join } from "node:path";
import { setKey } from "./config-text.js";
import { isObject, parseJsonObject } from "./json-text.js";
import { readTextFile } from "./text-files.js";

export const MODELOPT_FILE = "hf_quant_config.json";

type Json = Readonly<Record<string, unknown>>;

/** The file's content; undefined where the folder has none. @throws CheckpointError when it cannot be read */
export async function readModelOptFile(folder: string, inFolder: readonly string[]): Promise<Json | undefined> {
  if (!inFolder.includes(MODELOPT_FILE)) return undefined;
  const path = join(folder, MODELOPT_FILE);
  return parseJsonObject(path, await readTextFile(path));
}

/** The quantization of the file, if it has one. */
export function modelOptQuantization(file: Json | undefined): Json | undefined {
  return isObject(file?.quantization) ? file.quantization : undefined;
}

/** The file's text, saying that the cache is FP8 or, where it says so, that it is not. */
export function patchModelOptText(text: string, file: Json | undefined, isFp8: boolean): string {
  const quantization = modelOptQuantization(file);
  const says = quantization?.kv_cache_quant_algo === "FP8";
  if (quantization === undefined || says === isFp8) return text;
  return setKey(text, "quantization.kv_cache_quant_algo", isFp8 ? "FP8" : null);
}
