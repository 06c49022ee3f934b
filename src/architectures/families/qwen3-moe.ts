// Qwen 3 with experts: in every n-th layer, or in all but some; one window for all layers, if it is used.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import {
  expertsOf,
  mixture,
  mixtureOrDense,
  normalisedAsSaid,
  readMixture,
  scoreRouter,
  sparseSteps,
} from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { windowIfUsed } from "../windows.js";

export function describeQwen3Moe(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 4 });
  const bias = config.boolean("attention_bias", false);
  const window = windowIfUsed(config, 4096);
  config.ignore("max_window_layers", "all layers have the same window in this family");
  config.ignoreIf("use_qk_norm", [true], "norms of q and k are what this family has anyway");
  config.ignoreIf("shared_expert_intermediate_size", [0], "no shared expert is what this family has anyway");
  const experts = readMixture(config, sizes.hidden);
  const weights = normalisedAsSaid(config, false);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    queryKeyNorms: "before-rotation",
    windows: Array.from({ length: sizes.layers }, () => window),
    feedForward: mixtureOrDense(config, sizes.hidden, sparseSteps(config, sizes.layers), ({ feedForward }) =>
      mixture(scoreRouter(`${feedForward}.gate`, experts, weights), expertsOf(`${feedForward}.experts`, experts)),
    ),
  });
}
