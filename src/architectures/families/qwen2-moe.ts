// Qwen 2 with experts: a shared expert beside them, with a gate; biases of q, k and v by config.json.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import {
  expertsOf,
  gatedSharedExpert,
  mixture,
  mixtureOrDense,
  normalisedAsSaid,
  readMixture,
  scoreRouter,
  sparseSteps,
} from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, windowIfUsed } from "../windows.js";

export function describeQwen2Moe(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 16 });
  const { hidden, layers } = sizes;
  const window = windowIfUsed(config, 4096);
  const isCountRead = window !== undefined && !config.has("layer_types");
  if (!isCountRead) config.ignore("max_window_layers", "no layer has a window, or layer_types says which");
  const end = isCountRead ? config.count("max_window_layers", 28) : 0;
  const experts = readMixture(config, hidden);
  const weights = normalisedAsSaid(config, false);
  const intermediate = config.positiveInteger("shared_expert_intermediate_size", 5632);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: config.boolean("qkv_bias", true) },
    windows: slidingWindows(config, layers, window, (layer) => layer % 2 === 0 && layer < end),
    feedForward: mixtureOrDense(config, hidden, sparseSteps(config, layers), ({ feedForward }) =>
      mixture(
        scoreRouter(`${feedForward}.gate`, experts, weights),
        expertsOf(`${feedForward}.experts`, experts),
        gatedSharedExpert(feedForward, experts, intermediate),
      ),
    ),
  });
}
