// MiniMax M2: a sigmoid router with a correction bias, norms over the whole of q and k, partial RoPE.

import { UnsupportedModelError } from "../../errors.js";
import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { ModelConfig } from "../model-config.js";
import { expertsOf, MIXTRAL_EXPERT, mixture, OVER_SUM, readMixture, scoreRouter } from "../moe-parts.js";
import { type FamilyInput, projectionNorms, rmsNormOf } from "../parts.js";
import { readSizes } from "../sizes.js";
import { tensorSource } from "../weight-source.js";

const AS_HERE = "what this family is anyway";

export function describeMiniMaxM2(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 8, headDim: 128 });
  config.ignoreIf("use_qk_norm", [true], AS_HERE);
  config.ignoreIf("qk_norm_type", ["per_layer"], AS_HERE);
  config.ignoreIf("scoring_func", ["sigmoid"], AS_HERE);
  config.ignoreIf("use_routing_bias", [true], AS_HERE);
  config.ignoreIf("shared_intermediate_size", [0], AS_HERE);
  refuseOtherAttention(config, sizes.layers);
  const norm = rmsNormOf(config);
  const rotated = config.positiveInteger("rotary_dim", sizes.headDim);
  const experts = readMixture(config, sizes.hidden, {
    experts: ["num_local_experts", "num_experts"],
    intermediate: "intermediate_size",
  });
  const decoder = llamaLike(input, {
    sizes,
    norm,
    attention: (layer) => projectionNorms(layer, sizes, norm),
    rope: { defaultTheta: 5_000_000, partial: rotated / sizes.headDim },
    feedForward: (layer) => {
      const prefix = layer.of("block_sparse_moe");
      const correction = tensorSource(`${prefix}.e_score_correction_bias`, [experts.experts]);
      const router = scoreRouter(`${prefix}.gate`, experts, { score: "sigmoid", correction, normalised: OVER_SUM });
      return mixture(router, expertsOf(`${prefix}.experts`, experts, MIXTRAL_EXPERT));
    },
  });
  if (config.has("rotary_dim") && decoder.ropes.some(({ dimensions }) => dimensions !== rotated)) {
    throw new UnsupportedModelError(
      `${config.nameOf("rotary_dim")}: ${rotated} is not what partial_rotary_factor says: not supported`,
    );
  }
  return { ...decoder, nextTokenLayers: config.count("num_mtp_modules", 0) };
}

/** `attn_type_list`: 1 is attention; 0 was linear attention in MiniMax's earlier models. */
function refuseOtherAttention(config: ModelConfig, layers: number): void {
  if (!config.has("attn_type_list")) return;
  const types = config.numbersOfLayers("attn_type_list", layers, (type) => Number.isSafeInteger(type) && type >= 0);
  const other = types.find((type) => type !== 1);
  if (other === undefined) return;
  throw new UnsupportedModelError(
    `${config.nameOf("attn_type_list")}: ${other} is not understood for model_type "minimax_m2"; understood: 1`,
  );
}
