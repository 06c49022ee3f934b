// Hunyuan 3: norms over each head of q and k, sigmoid routers with a correction bias, shared experts, the first layer
// dense.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import {
  expertsOf,
  gatedAt,
  mixture,
  mixtureOrDense,
  mlpLayerTypes,
  OVER_SUM,
  readMixture,
  scoreRouter,
} from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { tensorSource } from "../weight-source.js";
import { noWindows } from "../windows.js";

export function describeHyV3(input: FamilyInput): Decoder {
  const { config } = input;
  noWindows(config);
  const sizes = readSizes(config, { kvHeads: 8, headDim: 128 });
  const { hidden, layers } = sizes;
  const [attentionBias, bias] = [config.boolean("attention_bias", false), config.boolean("mlp_bias", false)];
  const experts = readMixture(config, hidden);
  const multiplier = config.number("router_scaling_factor", 2.826);
  const sharedWidth = experts.intermediate * config.positiveInteger("num_shared_experts", 1);
  config.ignore("enable_moe_fp32_combine", "the type of a sum");
  const hasExperts = mlpLayerTypes(config, layers) ?? Array.from({ length: layers }, (_, layer) => layer > 0);
  const mixtureAt = (prefix: string) => {
    const router = scoreRouter(`${prefix}.router.gate`, experts, {
      score: "sigmoid",
      correction: tensorSource(`${prefix}.expert_bias`, [experts.experts]),
      normalised: { ...OVER_SUM, epsilon: 1e-20 },
      multiplier,
    });
    const inner = { intermediate: sharedWidth, activation: experts.activation, bias };
    const shared = { feedForward: gatedAt(`${prefix}.shared_mlp`, hidden, inner) };
    return mixture(router, expertsOf(`${prefix}.experts`, experts), shared);
  };
  const decoder = llamaLike(input, {
    sizes,
    attentionBias: { qkv: attentionBias, output: attentionBias },
    queryKeyNorms: "before-rotation",
    epsilon: 1e-5,
    rope: { defaultTheta: 11_158_840 },
    feedForward: mixtureOrDense(config, hidden, hasExperts, ({ feedForward }) => mixtureAt(feedForward), { bias }),
  });
  return { ...decoder, nextTokenLayers: config.count("num_nextn_predict_layers", 1) };
}
