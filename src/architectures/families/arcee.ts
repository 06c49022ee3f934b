// Arcee's AFM: Llama with a feed-forward without gate.

import type { Decoder } from "../description.js";
import { decoderOf, type FamilyInput, groupedQuery, plain, preNorm, rmsNormOf, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";

export function describeArcee(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const inner = {
    intermediate: config.positiveInteger("intermediate_size"),
    activation: readActivation(config, "hidden_act", "relu2"),
    bias: config.boolean("mlp_bias", false),
  };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => [
      preNorm(
        norm(layer.attentionNorm, sizes.hidden),
        groupedQuery(layer, sizes, { qkv: bias, output: bias }, { rope: rotateAll(rope) }),
      ),
      preNorm(norm(layer.feedForwardNorm, sizes.hidden), plain(layer, sizes.hidden, inner)),
    ],
    finalNorm: norm(names.finalNorm, sizes.hidden),
  });
}
