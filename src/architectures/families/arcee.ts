// Arcee's AFM: Llama with a feed-forward without gate.

import type { Decoder } from "../description.js";
import { llamaLike, plainAsSaid } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeArcee(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const bias = config.boolean("attention_bias", false);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    feedForward: plainAsSaid(config, sizes.hidden, "relu2", config.boolean("mlp_bias", false)),
    epsilon: 1e-5,
  });
}
