// ERNIE 4.5, the dense one: Llama with interleaved RoPE, and one switch for all biases. The text part of PaddleOCR-VL is
// the same, with M-RoPE over the halves of a head.

import type { Decoder } from "../description.js";
import { type LlamaLike, llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeErnie45(input: FamilyInput): Decoder {
  return ernieLike(input, { pairing: "neighbours", rope: { defaultTheta: 500_000 } });
}

export function describePaddleOcrVl(input: FamilyInput): Decoder {
  return ernieLike(input, { pairing: "halves", rope: { defaultTheta: 500_000, hasSections: true } });
}

function ernieLike(input: FamilyInput, rotation: Pick<LlamaLike, "pairing" | "rope">): Decoder {
  const { config } = input;
  const bias = config.boolean("use_bias", false);
  return llamaLike(input, {
    sizes: readSizes(config, { kvHeads: 2, headDim: 128 }),
    attentionBias: { qkv: bias, output: bias },
    feedForwardBias: bias,
    ...rotation,
    epsilon: 1e-5,
    tied: true,
  });
}
