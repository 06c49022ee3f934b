// Mellum 2: Qwen 3 with experts, windows by type of layer, and a rotation of its own for each type.

import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import {
  expertsOf,
  mixture,
  mixtureOrDense,
  mlpLayerTypes,
  normalisedAsSaid,
  readMixture,
  scoreRouter,
} from "../moe-parts.js";
import { decoderOf, type FamilyInput, groupedQuery, headNorms, normsBefore, rmsNormOf, rotateAll } from "../parts.js";
import { type Rope, readRopeFrom } from "../rope.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";

export function describeMellum(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 4, headDim: 128 });
  const { hidden, layers } = sizes;
  const norm = rmsNormOf(config);
  const bias = config.boolean("attention_bias", false);
  const windows = slidingWindows(config, layers, uniformWindow(config, 1024), () => false);
  const [full, sliding] = readRopes(config, sizes.headDim, windows);
  config.ignore("mtp_layer_types", "of layers that predict further tokens");
  config.ignore("mtp_mlp_layer_types", "of layers that predict further tokens");
  const experts = readMixture(config, hidden);
  const weights = normalisedAsSaid(config, true);
  const hasExperts = mlpLayerTypes(config, layers) ?? Array.from({ length: layers }, () => true);
  const feedForward = mixtureOrDense(config, hidden, hasExperts, ({ feedForward: prefix }) =>
    mixture(scoreRouter(`${prefix}.gate`, experts, weights), expertsOf(`${prefix}.experts`, experts)),
  );
  return decoderOf(input, {
    sizes,
    ropes: [full, sliding],
    layer: (layer, index) => {
      const window = windows[index];
      const rope = window === undefined ? rotateAll(full) : { ...rotateAll(sliding), rope: 1 };
      const norms = headNorms(layer, sizes, norm);
      const attention = groupedQuery(layer, sizes, { qkv: bias, output: bias }, { rope, window, ...norms });
      return normsBefore(layer, hidden, norm, [attention, feedForward(layer, index)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** Of layers without a window, and of those with one. A type that no layer is may be missing. */
function readRopes(config: ModelConfig, headDim: number, windows: readonly (number | undefined)[]): [Rope, Rope] {
  const parameters = config.optionalObject("rope_parameters");
  const read = (type: "full_attention" | "sliding_attention", isUsed: boolean, defaultTheta: number) => {
    const ofType = isUsed ? parameters?.object(type) : parameters?.optionalObject(type);
    return readRopeFrom(ofType, config, headDim, { defaultTheta: parameters === undefined ? defaultTheta : 10_000 });
  };
  return [
    read("full_attention", windows.includes(undefined), 500_000),
    read(
      "sliding_attention",
      windows.some((window) => window !== undefined),
      10_000,
    ),
  ];
}
