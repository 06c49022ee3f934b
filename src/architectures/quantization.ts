// Reads a quantization_config beside 16-bit weights: it may speak only of the KV cache. Knows no tensor.

import { UnsupportedModelError } from "../errors.js";
import { type ModelConfig, shortJson } from "./model-config.js";

/**
 * Reads the block if it speaks only of the KV cache, as this program and compressed-tensors write it. Any other is left
 * unread, and refused as a key that is not understood.
 * @throws UnsupportedModelError for weights that it says are quantized
 */
export function readQuantization(config: ModelConfig): void {
  const block = config.raw("quantization_config");
  if (block === undefined || isOfCacheAlone(block)) return;
  throw new UnsupportedModelError(
    `${config.nameOf("quantization_config")}: ${shortJson(block)} is not understood over weights of 16 bits: engines would quantize them, which changes K and V. Remove it if it is a leftover; if you know that it changes neither, accept it with --assume-harmless quantization_config.`,
  );
}

function isOfCacheAlone(block: unknown): boolean {
  if (typeof block !== "object" || block === null || Array.isArray(block)) return false;
  const entries = new Map(Object.entries(block));
  switch (entries.get("quant_method")) {
    case "compressed-tensors":
      return isEmpty(entries.get("config_groups")) && isEmpty(entries.get("sparsity_config"));
    case "modelopt":
      return isEmpty(entries.get("quant_algo"));
    default:
      return false;
  }
}

function isEmpty(value: unknown): boolean {
  return (value ?? undefined) === undefined || (typeof value === "object" && Object.keys(value ?? {}).length === 0);
}
