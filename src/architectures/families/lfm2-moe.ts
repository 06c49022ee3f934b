// LFM2 with experts: its convolutions and attention, a sigmoid router that may have a bias for the choice, the first
// layers dense.

import type { Decoder } from "../description.js";
import {
  expertsOf,
  MIXTRAL_EXPERT,
  mixture,
  mixtureOrDense,
  normalisedAsSaid,
  readMixture,
  scoreRouter,
} from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import type { LayerNames } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";
import { lfm2Like, readLfm2Sizes } from "./lfm2.js";

export function describeLfm2Moe(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readLfm2Sizes(config);
  const { hidden, layers } = sizes;
  const dense = config.count("num_dense_layers", 2);
  const hasExperts = Array.from({ length: layers }, (_, layer) => layer >= dense);
  const experts = readMixture(config, hidden, { activation: "silu" });
  const { normalised } = normalisedAsSaid(config, true);
  const hasCorrection = config.boolean("use_expert_bias", true);
  const multiplier = config.number("routed_scaling_factor", 1);
  const mixtureAt = (prefix: string) =>
    mixture(
      scoreRouter(`${prefix}.gate`, experts, {
        score: "sigmoid",
        ...(hasCorrection && { correction: tensorSource(`${prefix}.expert_bias`, [experts.experts]) }),
        ...(normalised && { normalised: { ...normalised, epsilon: 1e-6 } }),
        multiplier,
      }),
      expertsOf(`${prefix}.experts`, experts, MIXTRAL_EXPERT),
    );
  const behind = ({ feedForward }: LayerNames) => mixtureAt(feedForward);
  return lfm2Like(input, sizes, mixtureOrDense(config, hidden, hasExperts, behind, { activation: "silu" }));
}
