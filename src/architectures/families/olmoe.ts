// OLMoE: experts in every layer, norms over the whole of q and k, then a clamp of q, k and v, if there is a limit.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { expertsOf, mixture, normalisedAsSaid, readMixture, scoreRouter } from "../moe-parts.js";
import { type FamilyInput, projectionNorms, rmsNormOf } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeOlmoe(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const bias = config.boolean("attention_bias", false);
  const clip = config.optionalPositiveNumber("clip_qkv");
  const experts = readMixture(config, sizes.hidden, { intermediate: "intermediate_size" });
  const weights = normalisedAsSaid(config, false);
  return llamaLike(input, {
    sizes,
    norm,
    attentionBias: { qkv: bias, output: bias },
    attention: (layer) => ({ ...projectionNorms(layer, sizes, norm), ...(clip !== undefined && { clip }) }),
    feedForward: ({ feedForward }) =>
      mixture(scoreRouter(`${feedForward}.gate`, experts, weights), expertsOf(`${feedForward}.experts`, experts)),
  });
}
