// Nemotron-3's experts: without gates, with a shared one, perhaps between two projections, into a narrower latent space and
// out of it.

import type { Activation, Block, FeedForward } from "../blocks.js";
import type { ModelConfig } from "../model-config.js";
import { mixture, readMixture, sigmoidRouter } from "../moe-parts.js";
import { linear } from "../parts.js";
import type { LayerNames } from "../tensor-names.js";

/** What its feed-forwards have in common. */
export interface Ungated {
  readonly activation: Activation;
  /** Of all but experts. */
  readonly bias: boolean;
}

/** Keys of config.json that only experts read. */
export const LATENT_EXPERT_KEYS = [
  ...["n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "moe_shared_expert_intermediate_size"],
  ...["moe_latent_size", "n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor", "n_shared_experts"],
];

/** The mixture of a layer. */
export function latentExperts(
  config: ModelConfig,
  hidden: number,
  { activation, bias }: Ungated,
): (names: LayerNames) => Block {
  const sizes = readMixture(config, hidden, { experts: ["n_routed_experts"], activation });
  const router = sigmoidRouter(config, sizes, { normalised: true, multiplier: 1 });
  const latent = config.optionalPositiveInteger("moe_latent_size");
  const width = latent ?? hidden;
  const shared = config.positiveInteger("moe_shared_expert_intermediate_size");
  config.ignore("n_shared_experts", "there is one, whatever it says");
  return ({ feedForward: prefix }) => {
    const ungated = (name: string, outside: number, inside: number, hasBias: boolean): FeedForward => ({
      ...{ kind: "feed-forward", activation },
      up: linear(`${prefix}.${name}.up_proj`, outside, inside, hasBias),
      down: linear(`${prefix}.${name}.down_proj`, inside, outside, hasBias),
    });
    const experts = Array.from({ length: sizes.experts }, (_, index) =>
      ungated(`experts.${index}`, width, sizes.intermediate, false),
    );
    const both = {
      into: linear(`${prefix}.fc1_latent_proj`, hidden, width, bias),
      out: linear(`${prefix}.fc2_latent_proj`, width, hidden, bias),
    };
    return {
      ...mixture(router(`${prefix}.gate`, `${prefix}.gate.e_score_correction_bias`), experts, {
        feedForward: ungated("shared_experts", hidden, shared, bias),
      }),
      ...(latent !== undefined && { latent: both }),
    };
  };
}
