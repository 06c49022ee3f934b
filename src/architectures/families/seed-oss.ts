// Seed-OSS: Llama with heads of a size of their own and biases of q, k and v; the output's bias separately.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeSeedOss(input: FamilyInput): Decoder {
  const { config } = input;
  return llamaLike(input, {
    sizes: readSizes(config, { kvHeads: 8, headDim: 128 }),
    attentionBias: {
      qkv: config.boolean("attention_bias", true),
      output: config.boolean("attention_out_bias", false),
    },
    feedForwardBias: config.boolean("mlp_bias", false),
  });
}
