// Jais 2: layer norms, a feed-forward without gate, biases everywhere.

import type { Decoder } from "../description.js";
import { llamaLike, plainAsSaid } from "../llama-like.js";
import { type FamilyInput, layerNormOf } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeJais2(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const bias = config.boolean("attention_bias", true);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    feedForward: plainAsSaid(config, sizes.hidden, "relu2", config.boolean("mlp_bias", true)),
    norm: layerNormOf(config, "layer_norm_eps"),
  });
}
