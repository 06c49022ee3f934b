// IQuest-Coder: Llama with other defaults. What its makers' code can do beside that, no released checkpoint has.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { noWindows } from "../windows.js";

export function describeIQuestCoder(input: FamilyInput): Decoder {
  const { config } = input;
  noWindows(config);
  config.ignoreIf("use_sliding_window", [false], "transformers refuses true");
  for (const key of ["sliding_window", "max_window_layers"]) config.ignore(key, "use_sliding_window is false");
  const bias = config.boolean("attention_bias", false);
  return llamaLike(input, {
    sizes: readSizes(config, { kvHeads: 8, headDim: 128 }),
    attentionBias: { qkv: bias, output: bias },
    feedForwardBias: config.boolean("mlp_bias", false),
    epsilon: 1e-5,
  });
}
