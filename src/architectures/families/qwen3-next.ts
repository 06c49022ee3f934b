// Qwen3-Next: gated DeltaNet in three of four layers; experts with a shared one, or feed-forwards.

import type { Decoder } from "../description.js";
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
import { type FamilyInput, groupsOfFused, linear } from "../parts.js";
import { qwenHybrid } from "../qwen-hybrid.js";
import { readSizes } from "../sizes.js";

export function describeQwen3Next(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 2, headDim: 256 });
  const experts = readMixture(config, sizes.hidden);
  const router = normalisedAsSaid(config, true);
  const width = config.positiveInteger("shared_expert_intermediate_size", 512);
  return qwenHybrid(input, {
    sizes,
    projections: (name, delta) => {
      const { hidden, keyHeads, valueHeads, keyDim, valueDim } = delta;
      const each = valueHeads / keyHeads;
      const qkvz = linear(`${name}.in_proj_qkvz`, hidden, 2 * keyHeads * keyDim + 2 * valueHeads * valueDim);
      const parts = [keyDim, keyDim, each * valueDim, each * valueDim] as const;
      const [query, key, value, gate] = groupsOfFused(qkvz, keyHeads, parts);
      const ba = linear(`${name}.in_proj_ba`, hidden, 2 * valueHeads);
      const [beta, decay] = groupsOfFused(ba, keyHeads, [each, each] as const);
      return { query, key, value, gate, beta, decay };
    },
    feedForward: mixtureOrDense(config, sizes.hidden, sparseSteps(config, sizes.layers), ({ feedForward }) =>
      mixture(
        scoreRouter(`${feedForward}.gate`, experts, router),
        expertsOf(`${feedForward}.experts`, experts),
        gatedSharedExpert(feedForward, experts, width),
      ),
    ),
  });
}
