// ERNIE 4.5 with experts: interleaved RoPE, one switch for all biases but those of routed experts, a correction bias
// for the choice, weights divided by their sum or by a lower limit.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { ModelConfig } from "../model-config.js";
import { expertsOf, gatedAt, mixture, mixtureOrDense, OVER_SUM, readMixture, scoreRouter } from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { tensorSource } from "../weight-source.js";

const AS_HERE = "what this family is anyway";

export function describeErnie45Moe(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 4 });
  const { hidden, layers } = sizes;
  config.ignoreIf("moe_gate", ["topk"], AS_HERE);
  config.ignoreIf("moe_use_aux_free", [true], AS_HERE);
  config.ignoreIf("use_rmsnorm", [true], AS_HERE);
  config.ignore("moe_capacity", "a limit of training: no token is dropped");
  const bias = config.boolean("use_bias", false);
  const experts = readMixture(config, hidden, {
    experts: ["moe_num_experts", "num_experts"],
    perToken: ["moe_k", "num_experts_per_tok"],
  });
  const intermediate = experts.intermediate * config.count("moe_num_shared_experts", 2);
  const normalised = { ...OVER_SUM, floor: config.positiveNumber("moe_norm_min", 1e-12) };
  const decoder = llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    rope: { defaultTheta: 500_000 },
    pairing: "neighbours",
    epsilon: 1e-5,
    tied: true,
    feedForward: mixtureOrDense(
      config,
      hidden,
      layersWithExperts(config, layers),
      ({ feedForward: prefix }) => {
        const correction = tensorSource(`${prefix}.moe_statics.e_score_correction_bias`, [1, experts.experts]);
        const router = scoreRouter(`${prefix}.gate`, experts, { correction, normalised });
        const shared = gatedAt(`${prefix}.shared_experts`, hidden, { ...experts, intermediate, bias });
        const routed = expertsOf(`${prefix}.experts`, experts);
        return mixture(router, routed, intermediate > 0 ? { feedForward: shared } : undefined);
      },
      { bias },
    ),
  });
  return bias ? { ...decoder, end: { ...decoder.end, bias: `${names.head}.bias` } } : decoder;
}

/** Layers with experts. */
function layersWithExperts(config: ModelConfig, layers: number): boolean[] {
  const first = config.count("moe_layer_start_index", 1);
  const end = config.number("moe_layer_end_index", -1);
  const interval = config.positiveInteger("moe_layer_interval", 1);
  return everyLayerBetween(layers, { first, last: end === -1 ? layers - 1 : end, interval });
}

/** Every n-th layer from the first to the last that may be one. */
export function everyLayerBetween(
  layers: number,
  { first, last, interval }: { readonly first: number; readonly last: number; readonly interval: number },
): boolean[] {
  const isOne = (layer: number) => (layer + 1) % interval === 0 && layer >= first && layer <= last;
  return Array.from({ length: layers }, (_, layer) => isOne(layer));
}
