// Nemotron 3 and 4, Minitron: layer norms that store their weight − 1, a feed-forward without gate, RoPE on half of
// each head.

import type { LayerNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { llamaLike, plainAsSaid } from "../llama-like.js";
import { type FamilyInput, layerNormOf } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeNemotron(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  config.ignoreIf("kv_channels", [sizes.headDim], "says the same as head_dim");
  const bias = config.boolean("attention_bias", false);
  const norm = layerNormOf(config, "norm_eps");
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    feedForward: plainAsSaid(config, sizes.hidden, "relu2", config.boolean("mlp_bias", false)),
    norm: (name, size): LayerNorm => ({ ...norm(name, size), plusOne: true }),
    rope: { partial: 0.5 },
  });
}
