// Qwen 3: norms over each head of q and k, biases by config.json, a window in the upper layers, if it is used.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { windowsOfUpperLayers } from "../windows.js";

export function describeQwen3(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 32, headDim: 128 });
  const bias = config.boolean("attention_bias", false);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    queryKeyNorms: "before-rotation",
    windows: windowsOfUpperLayers(config, sizes.layers),
  });
}
