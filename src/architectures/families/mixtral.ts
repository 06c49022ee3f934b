// Mixtral: Mistral with experts in every layer, two per token and weighed by a softmax over these.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { expertsOf, MIXTRAL_EXPERT, mixture, OVER_SUM, readMixture, scoreRouter } from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { noWindows, uniformWindow } from "../windows.js";

export function describeMixtral(input: FamilyInput): Decoder {
  const { config } = input;
  noWindows(config);
  const sizes = readSizes(config, { kvHeads: 8 });
  const window = uniformWindow(config);
  const experts = readMixture(config, sizes.hidden, {
    experts: ["num_local_experts", "num_experts"],
    intermediate: "intermediate_size",
  });
  return llamaLike(input, {
    sizes,
    windows: Array.from({ length: sizes.layers }, () => window),
    epsilon: 1e-5,
    rope: { defaultTheta: 1_000_000 },
    feedForward: (layer) => {
      const prefix = layer.of("block_sparse_moe");
      const router = scoreRouter(`${prefix}.gate`, experts, { normalised: OVER_SUM });
      return mixture(router, expertsOf(`${prefix}.experts`, experts, MIXTRAL_EXPERT));
    },
  });
}
