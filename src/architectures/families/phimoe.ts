// Phi 3.5 MoE: layer norms with bias, biases by config.json; two experts per token by the sparse mixer; longrope that
// scales what it rotates by its own factors.

import { UnsupportedModelError } from "../../errors.js";
import type { Decoder } from "../description.js";
import type { SparseMixer } from "../experts.js";
import { llamaLike } from "../llama-like.js";
import { expertsOf, MIXTRAL_EXPERT, mixture, readMixture } from "../moe-parts.js";
import { type FamilyInput, layerNormOf, linear } from "../parts.js";
import { readSizes } from "../sizes.js";
import { noWindows, uniformWindow } from "../windows.js";

export function describePhimoe(input: FamilyInput): Decoder {
  const { config, names } = input;
  noWindows(config);
  const sizes = readSizes(config, { kvHeads: 8 });
  const { hidden } = sizes;
  const bias = config.boolean("attention_bias", false);
  const window = uniformWindow(config);
  const experts = readMixture(config, hidden, {
    experts: ["num_local_experts", "num_experts"],
    intermediate: "intermediate_size",
  });
  if (experts.perToken !== 2) {
    throw new UnsupportedModelError(
      `${config.nameOf("num_experts_per_tok")}: ${experts.perToken} is not supported: the sparse mixer chooses two experts`,
    );
  }
  const jitter = config.number("router_jitter_noise", 0.01);
  const decoder = llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    norm: layerNormOf(config, "rms_norm_eps"),
    windows: Array.from({ length: sizes.layers }, () => window),
    rope: { defaultTheta: 1_000_000, hasMscales: true },
    feedForward: (layer) => {
      const prefix = layer.of("block_sparse_moe");
      const logits = linear(`${prefix}.gate`, hidden, experts.experts);
      const router: SparseMixer = { kind: "sparse-mixer", logits, perToken: 2, jitter };
      return mixture(router, expertsOf(`${prefix}.experts`, experts, MIXTRAL_EXPERT));
    },
  });
  const other = decoder.ropes.find(({ scaling }) => scaling.type !== "default" && scaling.type !== "longrope");
  if (other !== undefined) {
    throw new UnsupportedModelError(
      `config.json: RoPE of type "${other.scaling.type}" is not supported for model_type "phimoe"; supported: default, longrope`,
    );
  }
  const hasHeadBias = config.boolean("lm_head_bias", false);
  return hasHeadBias ? { ...decoder, end: { ...decoder.end, bias: `${names.head}.bias` } } : decoder;
}
