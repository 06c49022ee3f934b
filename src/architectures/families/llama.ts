// Llama 1 to 3: the base of other families. Biases by config.json, no windows.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { noWindows } from "../windows.js";

export function describeLlama(input: FamilyInput): Decoder {
  const { config } = input;
  noWindows(config);
  config.ignore("sliding_window", "Llama has no windows in transformers and vLLM, whatever this says");
  config.ignore("use_sliding_window", "Llama has no windows in transformers and vLLM, whatever this says");
  const bias = config.boolean("attention_bias", false);
  return llamaLike(input, {
    sizes: readSizes(config),
    attentionBias: { qkv: bias, output: bias },
    feedForwardBias: config.boolean("mlp_bias", false),
  });
}
