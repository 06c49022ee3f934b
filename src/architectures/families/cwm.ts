// Code World Model: Llama with a window in the layers that `layer_types` names.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";

/** For checkpoints whose config.json has no RoPE parameters. */
const LLAMA3_ROPE = {
  rope_type: "llama3",
  rope_theta: 1_000_000,
  factor: 16,
  original_max_position_embeddings: 8192,
  low_freq_factor: 1,
  high_freq_factor: 4,
};

export function describeCwm(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 8, headDim: 128 });
  const windows = slidingWindows(config, sizes.layers, uniformWindow(config, 8192), (layer) => layer % 4 !== 0);
  return llamaLike(input, {
    sizes,
    rope: { absent: LLAMA3_ROPE, defaultTheta: 1_000_000 },
    epsilon: 1e-5,
    windows,
  });
}
