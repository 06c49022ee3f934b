// Layers that read the cache of an earlier one, as in Gemma 3n and 4: which they are, and their tensors that nothing
// reads. Pure data out; knows no family.

import { CheckpointError } from "../errors.js";
import type { Attention, SharedAttention } from "./blocks.js";
import type { ModelConfig } from "./model-config.js";
import type { LayerNames } from "./tensor-names.js";
import type { AttentionType } from "./windows.js";

/**
 * The layer whose cache each layer reads; undefined if it is its own. The last `num_kv_shared_layers` layers read that
 * of the last layer of their type before them.
 * @param fallback transformers' default
 * @throws CheckpointError when there is none
 */
export function cacheOwners(
  config: ModelConfig,
  types: readonly AttentionType[],
  fallback: number,
): (number | undefined)[] {
  const key = "num_kv_shared_layers";
  const first = types.length - config.count(key, fallback);
  const writers = types.slice(0, Math.max(0, first));
  return types.map((type, layer) => {
    if (layer < first) return undefined;
    const owner = writers.lastIndexOf(type);
    if (owner >= 0) return owner;
    throw new CheckpointError(
      `${config.nameOf(key)}: layer ${layer} is "${type}", and no layer of that type before layer ${first} has a cache`,
    );
  });
}

/** The attention of a layer that reads another layer's cache. */
export function sharing(attention: Attention, cacheOf: number): SharedAttention {
  const { kind: _, key, value, keyNorm, valueNorm, clip, keyMultiplier, valueMultiplier, ...reading } = attention;
  return { kind: "shared-attention", cacheOf, ...reading };
}

/** Tensors of such layers in released files, which transformers ignores. */
export function unreadBySharing(layer: LayerNames): string[] {
  const modules = ["k_proj", "v_proj", "k_norm", "v_norm"].map((name) => `${layer.attention}.${name}`);
  return modules.flatMap((name) => [`${name}.weight`, `${name}.bias`]);
}
