// hf_quant_config.json, which NVIDIA's ModelOpt writes beside config.json: its quantization, and what it says of the KV
// cache. Knows no engine.

import { setKey } from "./config-text.js";
import { isObject } from "./json-text.js";

export const MODELOPT_FILE = "hf_quant_config.json";

type Json = Readonly<Record<string, unknown>>;

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
