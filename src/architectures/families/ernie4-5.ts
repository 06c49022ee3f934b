// ERNIE 4.5, the dense one: Llama with interleaved RoPE, and one switch for all biases.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeErnie45(input: FamilyInput): Decoder {
  const { config } = input;
  const bias = config.boolean("use_bias", false);
  return llamaLike(input, {
    sizes: readSizes(config, { kvHeads: 2, headDim: 128 }),
    attentionBias: { qkv: bias, output: bias },
    feedForwardBias: bias,
    rope: { defaultTheta: 500_000 },
    pairing: "neighbours",
    epsilon: 1e-5,
    tied: true,
  });
}
