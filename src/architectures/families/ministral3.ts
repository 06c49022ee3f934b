// Ministral 3 and Devstral 2: Mistral with YaRN, and queries that are scaled by their position.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { noWindows, uniformWindow } from "../windows.js";

export function describeMinistral3(input: FamilyInput): Decoder {
  const { config } = input;
  noWindows(config);
  const sizes = readSizes(config, { kvHeads: 8, headDim: 128 });
  const window = uniformWindow(config);
  const parameters = config.object(config.has("rope_scaling") ? "rope_scaling" : "rope_parameters");
  return llamaLike(input, {
    sizes,
    windows: Array.from({ length: sizes.layers }, () => window),
    epsilon: 1e-5,
    queryGrowth: {
      beta: parameters.number("llama_4_scaling_beta"),
      every: parameters.positiveInteger("original_max_position_embeddings"),
    },
  });
}
