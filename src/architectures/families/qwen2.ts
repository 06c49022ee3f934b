// Qwen 2 and 2.5: biases of q, k and v; a window in the upper layers, if it is used. The text part of Qwen2-VL and its
// successors is the same, with M-RoPE.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import type { RopeReading } from "../rope.js";
import { readSizes } from "../sizes.js";
import { windowsOfUpperLayers } from "../windows.js";

export function describeQwen2(input: FamilyInput, rope: RopeReading = {}): Decoder {
  const sizes = readSizes(input.config, { kvHeads: 32 });
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: true },
    windows: windowsOfUpperLayers(input.config, sizes.layers),
    rope,
  });
}

export function describeQwen2Vl(input: FamilyInput): Decoder {
  return describeQwen2(input, { hasSections: true });
}
