// Qwen 2 and 2.5: biases of q, k and v; a window in the upper layers, if it is used.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { windowsOfUpperLayers } from "../windows.js";

export function describeQwen2(input: FamilyInput): Decoder {
  const sizes = readSizes(input.config, { kvHeads: 32 });
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: true },
    windows: windowsOfUpperLayers(input.config, sizes.layers),
  });
}
