// dots.llm1: a sigmoid router with groups, shared experts, the first layers dense, a window in the upper layers, norms
// over each head of q and k.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { behindDense, expertsOf, gatedAt, mixture, mixtureOrDense, readMixture, sigmoidRouter } from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";

const AS_HERE = "what this family is anyway";

export function describeDots1(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 32 });
  const { hidden, layers } = sizes;
  config.ignoreIf("topk_method", ["noaux_tc"], AS_HERE);
  config.ignoreIf("scoring_func", ["sigmoid"], AS_HERE);
  config.ignoreIf("moe_layer_freq", [1], AS_HERE);
  const bias = config.boolean("attention_bias", false);
  const window = uniformWindow(config, 4096);
  const isInTypes = config.has("layer_types");
  if (isInTypes) config.ignore("max_window_layers", "layer_types says which layers have the window");
  const first = isInTypes ? 0 : config.count("max_window_layers", 62);
  const experts = readMixture(config, hidden, { experts: ["n_routed_experts", "num_local_experts"] });
  const router = sigmoidRouter(config, experts, { normalised: false, multiplier: 1 });
  const intermediate = experts.intermediate * config.positiveInteger("n_shared_experts");
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    queryKeyNorms: "before-rotation",
    windows: slidingWindows(config, layers, window, (layer) => layer >= first),
    feedForward: mixtureOrDense(config, hidden, behindDense(config, layers, 0), ({ feedForward }) =>
      mixture(
        router(`${feedForward}.gate`, `${feedForward}.gate.e_score_correction_bias`),
        expertsOf(`${feedForward}.experts`, experts),
        { feedForward: gatedAt(`${feedForward}.shared_experts`, hidden, { ...experts, intermediate }) },
      ),
    ),
  });
}
