// The quantization that a checkpoint declares: its method, its block, where that stands, and what it says of the KV cache.
// Knows no engine and no tensor.

import { isObject } from "./json-text.js";

type Json = Readonly<Record<string, unknown>>;

/** The quantization_config of config.json, else of hf_quant_config.json. */
export interface Quantization {
  readonly method: string;
  readonly file: "config.json" | "hf_quant_config.json";
  /** The key in the file, with dots for nested objects. */
  readonly key: string;
  readonly block: Json;
  /** The cache's scheme, in the form of compressed-tensors. */
  readonly kvCacheScheme: Json | undefined;
}

/** Places of the block in config.json: engines read the first that is there. */
export const BLOCK_KEYS = ["quantization_config", "text_config.quantization_config", "compression_config"] as const;

/**
 * As vLLM looks for it: the text part of a multimodal model may have it, and hf_quant_config.json counts last.
 * @param modelOpt the `quantization` of hf_quant_config.json
 */
export function quantizationOf(config: Json, modelOpt?: Json): Quantization | undefined {
  for (const key of BLOCK_KEYS) {
    const block = valueAt(config, key);
    if (block === undefined || block === null) continue;
    if (!isObject(block)) break;
    const method = typeof block.quant_method === "string" ? block.quant_method : "of unknown method";
    const scheme = isObject(block.kv_cache_scheme) ? block.kv_cache_scheme : undefined;
    return { method, file: "config.json", key, block, kvCacheScheme: scheme };
  }
  if (modelOpt === undefined) return undefined;
  const isFp8 = modelOpt.kv_cache_quant_algo === "FP8";
  const kvCacheScheme = isFp8 ? { type: "float", num_bits: 8, dynamic: false } : undefined;
  return { method: "modelopt", file: "hf_quant_config.json", key: "quantization", block: modelOpt, kvCacheScheme };
}

/** The value of a key with dots for nested objects; undefined where there is none. */
export function valueAt(config: Json, key: string): unknown {
  return key.split(".").reduce<unknown>((value, part) => (isObject(value) ? value[part] : undefined), config);
}
