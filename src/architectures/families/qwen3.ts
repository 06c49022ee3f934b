// Qwen 3: norms over each head of q and k, biases by config.json, a window in the upper layers, if it is used. The text
// part of Qwen3-VL is the same without windows, with M-RoPE.

import type { Decoder } from "../description.js";
import { type LlamaLike, llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { windowsOfUpperLayers } from "../windows.js";

export function describeQwen3(input: FamilyInput): Decoder {
  return qwen3Like(input, ({ layers }) => ({ windows: windowsOfUpperLayers(input.config, layers) }));
}

export function describeQwen3Vl(input: FamilyInput): Decoder {
  return qwen3Like(input, () => ({ rope: { hasSections: true } }));
}

function qwen3Like(input: FamilyInput, differences: (sizes: LlamaLike["sizes"]) => Partial<LlamaLike>): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 32, headDim: 128 });
  const bias = config.boolean("attention_bias", false);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    queryKeyNorms: "before-rotation",
    ...differences(sizes),
  });
}
