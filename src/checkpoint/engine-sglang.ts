// What SGLang does with the scales of a checkpoint, since August 2026: read in its source, not run. Touches no file.

import { DROPPED_BY_SGLANG } from "./engine-families.js";
import {
  hasNoParameters,
  judgePairs,
  namedScales,
  sayElements,
  schemeRefused,
  withoutParameters,
} from "./engine-scales.js";
import {
  type EngineVerdict,
  elementsOf,
  ignored,
  notKnown,
  refused,
  unknown,
  unscaled,
  withFnuz,
} from "./engine-verdicts.js";
import type { ScaleFacts } from "./scale-facts.js";

/**
 * Loads like vLLM, but ignores tensors without a parameter in the model, unless it takes them for a part of a
 * projection.
 */
export function judgeSglang(facts: ScaleFacts): EngineVerdict {
  const { quantization, modelType } = facts;
  const named = namedScales(facts);
  if (named.length === 0) return unscaled(facts);
  if (quantization && hasNoParameters(quantization)) return withoutParameters(facts, quantization);
  if (quantization && !["compressed-tensors", "fp8", "modelopt"].includes(quantization.method)) {
    return unknown(quantization);
  }
  const output = named.find(({ form }) => form === "output");
  if (output) return refused(`no projection has "${output.name}"`);
  const known = new Set(facts.attentions.values());
  const scales = named.filter(
    ({ attention, form }) => known.has(attention) && (form === "attention" || form === "projection"),
  );
  if (scales.length === 0) return unscaled(facts);
  if (quantization === undefined) return ignored(facts, "without a quantization_config it ignores scales");
  const refusal = schemeRefused(quantization);
  if (refusal) return refused(refusal);
  const dropped = modelType === undefined ? undefined : DROPPED_BY_SGLANG.get(modelType);
  if (dropped !== undefined) return ignored(facts, `its loader of ${modelType} drops them (${dropped})`);
  if (facts.hasLatentCache) return notKnown("what it makes of scales of a latent cache (MLA) is not known here");
  const wrong = scales.find((scale) => elementsOf(scale) !== 1);
  if (wrong) return refused(sayElements(wrong, 1));
  return withFnuz(judgePairs(facts, scales), "doubled");
}
