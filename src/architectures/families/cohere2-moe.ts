// Command A with experts: Command R7B with a mixture beside the attention, shared experts added or averaged with it,
// the first layers dense; layer norms or RMS norms.

import { UnsupportedModelError } from "../../errors.js";
import type { Branch, Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { expertsOf, gatedAt, mixture, mlpLayerTypes, OVER_SUM, readMixture, scoreRouter } from "../moe-parts.js";
import { type FamilyInput, gated, rmsNormOf } from "../parts.js";
import { readSizes, type Sizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";
import { slidingWindows, uniformWindow } from "../windows.js";
import { cohereLike } from "./cohere.js";

export function describeCohere2Moe(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { headDim: 128 });
  const { layers } = sizes;
  const dense = readDenseLayers(config, layers);
  const prefixPeriod = config.positiveInteger("prefix_dense_sliding_window_pattern", 1);
  const windows = readWindows(config, layers, prefixPeriod);
  if (config.has("rms_norm_eps")) config.ignore("layer_norm_eps", "the norms are RMS norms, with rms_norm_eps");
  return cohereLike(input, {
    sizes,
    windows,
    rotates: (layer) => windows[layer] !== undefined || (dense[layer] === true && prefixPeriod === 1),
    ...(config.has("rms_norm_eps") && { norm: rmsNormOf(config) }),
    feedForward: readFeedForwards(config, sizes, dense),
  });
}

/** By `mlp_layer_types`, or the first `first_k_dense_replace`. */
function readDenseLayers(config: ModelConfig, layers: number): readonly boolean[] {
  const types = mlpLayerTypes(config, layers);
  if (types !== undefined) return types.map((hasExperts) => !hasExperts);
  const first = config.count("first_k_dense_replace", 0);
  return Array.from({ length: layers }, (_, layer) => layer < first);
}

/** By `layer_types`, or in periods that start again after the dense layers. */
function readWindows(config: ModelConfig, layers: number, prefixPeriod: number): readonly (number | undefined)[] {
  const hasTypes = config.has("layer_types");
  const period = hasTypes ? 1 : config.positiveInteger("sliding_window_pattern", 4);
  const first = hasTypes ? 0 : config.count("first_k_dense_replace", 0);
  if (hasTypes) {
    config.ignore("sliding_window_pattern", "layer_types says which layers have the window");
    if (config.has("mlp_layer_types")) config.ignore("first_k_dense_replace", "the types of layers say it");
  }
  return slidingWindows(config, layers, uniformWindow(config, 4096), (layer) =>
    layer < first ? (layer + 1) % prefixPeriod !== 0 : (layer - first + 1) % period !== 0,
  );
}

function readFeedForwards(config: ModelConfig, { hidden }: Sizes, dense: readonly boolean[]) {
  const experts = readMixture(config, hidden, { intermediate: "intermediate_size" });
  const { intermediate, activation } = experts;
  const wide = config.positiveInteger("prefix_dense_intermediate_size", intermediate);
  const score = readChoice(config, "expert_selection_fn", ["softmax", "sigmoid"] as const);
  const isNormalised = score === "softmax" || config.boolean("norm_topk_prob", true);
  if (score === "softmax") config.ignore("norm_topk_prob", "a softmax over the chosen experts has the sum 1");
  const sharedWidth = intermediate * config.count("num_shared_experts", 0);
  const isAverage = readChoice(config, "shared_expert_combination_strategy", ["average", "sum"] as const) === "average";
  return (layer: LayerNames, index: number): Omit<Branch, "norm"> => {
    const prefix = layer.feedForward;
    if (dense[index]) return { block: gated(layer, hidden, { intermediate: wide, activation }) };
    const router = scoreRouter(`${prefix}.gate`, experts, { score, ...(isNormalised && { normalised: OVER_SUM }) });
    const each = expertsOf(`${prefix}.experts`, experts);
    if (sharedWidth === 0) return { block: mixture(router, each) };
    const inner = { intermediate: sharedWidth, activation };
    const block = mixture(router, each, { feedForward: gatedAt(`${prefix}.shared_experts`, hidden, inner) });
    return { block, ...(isAverage && { multiplier: 0.5 }) };
  };
}

/** One of some words; the first when the key is absent. */
function readChoice<Word extends string>(config: ModelConfig, key: string, words: readonly [Word, ...Word[]]): Word {
  const given = config.string(key, words[0]);
  const found = words.find((word) => word === given);
  if (found !== undefined) return found;
  throw new UnsupportedModelError(`${config.nameOf(key)}: "${given}" is not supported; supported: ${words.join(", ")}`);
}
