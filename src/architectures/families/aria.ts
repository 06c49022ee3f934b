// The text part of Aria: Llama with experts in every layer, in two stacks stored inputs first, beside a shared one.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { expertsOfStacks, gatedAt, mixture, OVER_SUM, readMixture, scoreRouter } from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeAria(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const { hidden } = sizes;
  const bias = config.boolean("attention_bias", false);
  const mlpBias = config.boolean("mlp_bias", false);
  const experts = readMixture(config, hidden, {
    experts: ["moe_num_experts"],
    perToken: ["moe_topk"],
    intermediate: "intermediate_size",
  });
  const intermediate = experts.intermediate * config.positiveInteger("moe_num_shared_experts", 2);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    feedForward: ({ feedForward: prefix }) => {
      const stacks = { gateUp: `${prefix}.experts.fc1.weight`, down: `${prefix}.experts.fc2.weight` };
      // The experts' own activation is SiLU, whatever config.json says.
      const routed = expertsOfStacks(stacks, { ...experts, activation: "silu" }, "inputs-first");
      const router = scoreRouter(`${prefix}.router`, experts, { normalised: OVER_SUM });
      const shared = gatedAt(`${prefix}.shared_experts`, hidden, { ...experts, intermediate, bias: mlpBias });
      return mixture(router, routed, { feedForward: shared });
    },
  });
}
