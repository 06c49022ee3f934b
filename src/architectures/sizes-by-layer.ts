// Head sizes and KV heads that differ by layer, as in Gemma 4's config.json. Pure data out; knows no block.

import { CheckpointError } from "../errors.js";
import type { ModelConfig } from "./model-config.js";
import type { Sizes } from "./sizes.js";
import type { AttentionType } from "./windows.js";

const PER_LAYER = "per_layer_config";
const GLOBAL = ["global_head_dim", "num_global_key_value_heads"] as const;

/**
 * `per_layer_config`, by layer number, as transformers 5 writes it; else `global_head_dim` and
 * `num_global_key_value_heads` for layers with full attention.
 * @param globalHeadDim transformers' default
 * @param hasGlobalKvHeads whether transformers reads num_global_key_value_heads
 * @throws CheckpointError naming the key
 */
export function sizesByLayer(
  config: ModelConfig,
  sizes: Sizes,
  types: readonly AttentionType[],
  globalHeadDim: number,
  hasGlobalKvHeads: boolean,
): Sizes[] {
  // If it is empty or null, layers do not differ.
  if (config.mentions(PER_LAYER)) return overridden(config, sizes);
  const [headDimKey, kvHeadsKey] = GLOBAL;
  if (!hasGlobalKvHeads) config.ignore(kvHeadsKey, "attention_k_eq_v is false: transformers ignores it");
  const ofFull: Sizes = {
    ...sizes,
    headDim: config.positiveInteger(headDimKey, globalHeadDim),
    kvHeads: hasGlobalKvHeads ? config.positiveInteger(kvHeadsKey, sizes.kvHeads) : sizes.kvHeads,
  };
  const isUsed = types.includes("full_attention");
  if (isUsed) checkHeads(ofFull, config, headDimKey, kvHeadsKey);
  return types.map((type) => (type === "full_attention" ? ofFull : sizes));
}

function overridden(config: ModelConfig, sizes: Sizes): Sizes[] {
  for (const key of GLOBAL) config.ignore(key, "per_layer_config takes its place, as in transformers");
  const all = config.optionalObject(PER_LAYER);
  const result = Array.from({ length: sizes.layers }, () => sizes);
  for (const key of all?.keys() ?? []) {
    const layer = Number(key);
    // Keys are numbers padded with zeros to the same length.
    if (all === undefined || !/^\d+$/.test(key) || layer >= sizes.layers) {
      throw new CheckpointError(
        `${config.nameOf(PER_LAYER)}: expected numbers of layers below ${sizes.layers} as keys, found "${key}"`,
      );
    }
    const own = all.object(key);
    const headDim = own.positiveInteger("head_dim", sizes.headDim);
    const kvHeads = own.positiveInteger("num_key_value_heads", sizes.kvHeads);
    result[layer] = { ...sizes, headDim, kvHeads };
    checkHeads({ ...sizes, headDim, kvHeads }, own, "head_dim", "num_key_value_heads");
  }
  return result;
}

function checkHeads({ heads, kvHeads, headDim }: Sizes, config: ModelConfig, headDimKey: string, kvKey: string): void {
  if (headDim % 2 !== 0) {
    throw new CheckpointError(`${config.nameOf(headDimKey)}: expected an even number for RoPE, found ${headDim}`);
  }
  if (heads % kvHeads !== 0) {
    throw new CheckpointError(`${config.nameOf(kvKey)}: ${kvHeads} does not divide num_attention_heads (${heads})`);
  }
}
