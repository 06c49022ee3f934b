// What TensorRT-LLM does with the scales of a checkpoint: read in its source, not run. It reads only ModelOpt's layout.
// Touches no file.

import { inOrderOfWriting, lastWritten } from "./engine-scales.js";
import { type EngineVerdict, ignored, loadedWith, notKnown, unscaled } from "./engine-verdicts.js";
import { showJson } from "./json-text.js";
import { scalesByAttention } from "./read-scales.js";
import type { ScaleFacts } from "./scale-facts.js";

/** Reads k_proj.k_scale and v_proj.v_scale where hf_quant_config.json says that the cache is FP8. */
export function judgeTensorRtLlm(facts: ScaleFacts): EngineVerdict {
  const { scales, modelOpt, quantization } = facts;
  if (scales.length === 0) return unscaled(facts);
  const own = inOrderOfWriting(scales).filter(({ name }) => /\.([kv])_proj\.\1_scale$/.test(name));
  if (own.length === 0) return ignored(facts, "it reads k_proj.k_scale and v_proj.v_scale, and there is none");
  if (facts.hasLatentCache) return notKnown("what it makes of scales of a latent cache (MLA) is not known here");
  if (modelOpt === undefined) {
    if (quantization?.method !== "modelopt") return ignored(facts, "without hf_quant_config.json its cache is not FP8");
    return notKnown("whether it takes the block of config.json without hf_quant_config.json is not known here");
  }
  const { kv_cache_quant_algo: cache, quant_algo: weights } = modelOpt;
  if (typeof cache !== "string") return ignored(facts, "hf_quant_config.json has no kv_cache_quant_algo");
  if (cache.toUpperCase() !== "FP8") {
    return notKnown(`what it makes of kv_cache_quant_algo ${showJson(cache)} is not known here`);
  }
  if (typeof weights !== "string") {
    return notKnown("whether it takes kv_cache_quant_algo without a quant_algo for the weights is not known here");
  }
  const scalesOf = scalesByAttention(own);
  return loadedWith(facts, (attention) => lastWritten(scalesOf(attention)));
}
