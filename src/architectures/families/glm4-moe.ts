// GLM 4.5 and later: a sigmoid router with groups, a shared expert, RoPE on half of each head, the first layers dense,
// and layers at the end that predict further tokens. The text part of GLM-4.5V is the same without norms of q and k and
// without such layers, with M-RoPE.

import type { Decoder } from "../description.js";
import { type LlamaLike, llamaLike } from "../llama-like.js";
import { behindDense, expertsOf, gatedAt, mixture, mixtureOrDense, readMixture, sigmoidRouter } from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeGlm4Moe(input: FamilyInput): Decoder {
  const { config } = input;
  const hasNorms = config.boolean("use_qk_norm", false);
  const decoder = glm4MoeLike(input, { ...(hasNorms && { queryKeyNorms: "before-rotation" }), rope: { partial: 0.5 } });
  const nextTokenKey = config.has("num_nextn_predict_layers") ? "num_nextn_predict_layers" : "num_mtp_layers";
  return { ...decoder, nextTokenLayers: config.count(nextTokenKey, 1) };
}

export function describeGlm4vMoe(input: FamilyInput): Decoder {
  return glm4MoeLike(input, { rope: { partial: 0.5, hasSections: true } });
}

function glm4MoeLike(input: FamilyInput, differences: Partial<LlamaLike>): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 8 });
  const { hidden, layers } = sizes;
  const experts = readMixture(config, hidden, {
    experts: ["n_routed_experts", "num_local_experts"],
    expertsByDefault: 128,
  });
  const router = sigmoidRouter(config, experts, { normalised: true, multiplier: 1 });
  const intermediate = experts.intermediate * config.positiveInteger("n_shared_experts", 1);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: config.boolean("attention_bias", false) },
    epsilon: 1e-5,
    ...differences,
    feedForward: mixtureOrDense(config, hidden, behindDense(config, layers, 1), ({ feedForward }) =>
      mixture(
        router(`${feedForward}.gate`, `${feedForward}.gate.e_score_correction_bias`),
        expertsOf(`${feedForward}.experts`, experts),
        { feedForward: gatedAt(`${feedForward}.shared_experts`, hidden, { ...experts, intermediate }) },
      ),
    ),
  });
}
