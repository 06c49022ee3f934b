// Granite 3: Llama with multipliers of embeddings, residuals, scores and logits.

import type { Decoder } from "../description.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, preNorm, rmsNormOf, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";

export function describeGranite(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const norm = rmsNormOf(config);
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const scale = config.positiveNumber("attention_multiplier", 1);
  const residual = config.positiveNumber("residual_multiplier", 1);
  const inner = {
    intermediate: config.positiveInteger("intermediate_size"),
    activation: readActivation(config),
    bias: config.boolean("mlp_bias", false),
  };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    embedding: { multiplier: config.positiveNumber("embedding_multiplier", 1) },
    layer: (layer) => [
      preNorm(
        norm(layer.attentionNorm, sizes.hidden),
        groupedQuery(layer, sizes, { qkv: bias, output: bias }, { rope: rotateAll(rope), scale }),
        residual,
      ),
      preNorm(norm(layer.feedForwardNorm, sizes.hidden), gated(layer, sizes.hidden, inner), residual),
    ],
    finalNorm: norm(names.finalNorm, sizes.hidden),
    logits: { multiplier: 1 / config.positiveNumber("logits_scaling", 1) },
  });
}
