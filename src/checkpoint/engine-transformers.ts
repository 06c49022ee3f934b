// What transformers does with the scales of a checkpoint: measured with version 5.19 and compressed-tensors 0.17. Touches
// no file.

import { absentFile, inOrderOfWriting, lastWritten, namedScales, strategyRefused } from "./engine-scales.js";
import { type EngineVerdict, ignored, loadedWith, notKnown, refused, unknown, unscaled } from "./engine-verdicts.js";
import { isObject } from "./json-text.js";
import { scalesByAttention } from "./read-scales.js";
import type { ScaleFacts } from "./scale-facts.js";

/**
 * Loads only model.safetensors if there is one, else the files that the index names. With a compressed-tensors block,
 * k_scale and v_scale are buffers of the attention; those without a tensor are uninitialized memory.
 */
export function judgeTransformers(facts: ScaleFacts): EngineVerdict {
  const { quantization } = facts;
  const isSingle = facts.files.includes("model.safetensors");
  const absent = isSingle ? undefined : absentFile(facts);
  if (absent) return refused(`the index names ${absent}, which is not there`);
  const loaded = isSingle ? facts.scales.filter(({ file }) => file === "model.safetensors") : namedScales(facts);
  if (quantization === undefined || quantization.file === "hf_quant_config.json") {
    return loaded.length > 0 ? ignored(facts, "without a quantization_config it ignores scales") : unscaled(facts);
  }
  if (quantization.method !== "compressed-tensors") return unknown(quantization);
  const { block, kvCacheScheme: scheme } = quantization;
  if (!isObject(block.config_groups)) return refused("the compressed-tensors block has no config_groups");
  if (scheme === undefined) return refused("the compressed-tensors block has no kv_cache_scheme");
  const refusal = strategyRefused(scheme);
  if (refusal) return refused(refusal);
  if (facts.hasLatentCache) return notKnown("what it makes of scales of a latent cache (MLA) is not known here");
  const own = inOrderOfWriting(loaded).filter(({ kind, form }) => kind !== "kv_scale" && form === "attention");
  const order = new Map(own.map((scale, place) => [scale, place]));
  const scalesOf = scalesByAttention(own);
  // Names of a base model, without "model.", match, too.
  const named = (name: string) => endingsOf(name).flatMap(scalesOf);
  const written = (name: string) => named(name).sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
  return loadedWith(facts, (attention) => lastWritten(written(attention)), "unwritten");
}

/** The whole name, and its endings without the first parts. */
function endingsOf(name: string): string[] {
  const parts = name.split(".");
  return parts.map((_, first) => parts.slice(first).join("."));
}
