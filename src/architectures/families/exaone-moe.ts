// EXAONE with experts: EXAONE 4's windows and rotation with norms before the blocks, a sigmoid router with groups,
// shared experts, the first layers dense.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import {
  behindDense,
  expertsOf,
  gatedAt,
  mixture,
  mixtureOrDense,
  mlpLayerTypes,
  readMixture,
  sigmoidRouter,
} from "../moe-parts.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";

export function describeExaoneMoe(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 32 });
  const { hidden, layers } = sizes;
  const window = uniformWindow(config, 4096);
  const isInTypes = config.has("layer_types") || window === undefined;
  if (isInTypes) config.ignore("sliding_window_pattern", "layer_types says which layers have the window, if any has");
  const period = isInTypes ? 1 : config.positiveInteger("sliding_window_pattern", 4);
  const windows = slidingWindows(config, layers, window, (layer) => (layer + 1) % period !== 0);
  const types = mlpLayerTypes(config, layers);
  if (types !== undefined) config.ignore("first_k_dense_replace", "mlp_layer_types says which layers are dense");
  const hasExperts = types ?? behindDense(config, layers, 1);
  const experts = readMixture(config, hidden, { experts: ["num_experts"] });
  const router = sigmoidRouter(config, experts, { normalised: true, multiplier: 2.5 });
  const intermediate = experts.intermediate * config.positiveInteger("num_shared_experts", 1);
  return llamaLike(input, {
    sizes,
    queryKeyNorms: "before-rotation",
    windows,
    rotates: (layer) => window === undefined || windows[layer] !== undefined,
    epsilon: 1e-5,
    feedForward: mixtureOrDense(config, hidden, hasExperts, ({ feedForward }) =>
      mixture(
        router(`${feedForward}.gate`, `${feedForward}.e_score_correction_bias`),
        expertsOf(`${feedForward}.experts`, experts),
        { feedForward: gatedAt(`${feedForward}.shared_experts`, hidden, { ...experts, intermediate }) },
      ),
    ),
  });
}
