// Helium 1: Llama with interleaved RoPE, and norms whose weights multiply in float32.

import type { RmsNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { type FamilyInput, rmsNormOf } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeHelium(input: FamilyInput): Decoder {
  const { config } = input;
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-8);
  return llamaLike(input, {
    sizes: readSizes(config, { kvHeads: 20, headDim: 128 }),
    attentionBias: { qkv: config.boolean("attention_bias", false) },
    feedForwardBias: config.boolean("mlp_bias", false),
    norm: (name, size): RmsNorm => ({ ...norm(name, size), product: "float32" }),
    rope: { defaultTheta: 100_000 },
    pairing: "neighbours",
  });
}
