// OLMo 3: OLMo 2 with a window in three of four layers, and another rotation in those than in the others.

import { UnsupportedModelError } from "../../errors.js";
import type { RmsNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  normsBehind,
  projectionNorms,
  rmsNormOf,
  rotateAll,
} from "../parts.js";
import { type Rope, readRopeFrom } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";

const DEFAULT_THETA = 500_000;

export function describeOlmo3(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const { hidden } = sizes;
  const plainNorm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const norm = (name: string, size: number): RmsNorm => ({ ...plainNorm(name, size), product: "float32" });
  const windows = slidingWindows(config, sizes.layers, uniformWindow(config, 4096), (layer) => (layer + 1) % 4 !== 0);
  const { full, sliding } = readRopes(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return decoderOf(input, {
    sizes,
    ropes: [full, sliding],
    layer: (layer, index) => {
      const window = windows[index];
      const rope = window === undefined ? rotateAll(full) : { ...rotateAll(sliding), rope: 1 };
      const norms = projectionNorms(layer, sizes, norm);
      const attention = groupedQuery(layer, sizes, { qkv: bias, output: bias }, { rope, window, ...norms });
      return normsBehind(layer, hidden, norm, [attention, gated(layer, hidden, inner)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** `rope_parameters` by type of layer, or the older `rope_scaling`, which is for layers without a window. */
function readRopes(config: ModelConfig, headDim: number): Readonly<Record<"full" | "sliding", Rope>> {
  const theta = config.positiveNumber("rope_theta", DEFAULT_THETA);
  if (theta !== DEFAULT_THETA) {
    throw new UnsupportedModelError(
      `${config.nameOf("rope_theta")}: ${theta} is not supported: releases of transformers differ on whether layers with a window have it. Say it in rope_parameters, by type of layer.`,
    );
  }
  const parameters = config.optionalObject("rope_parameters");
  const scaling = config.optionalObject("rope_scaling");
  const reading = { defaultTheta: DEFAULT_THETA };
  return {
    full: readRopeFrom(scaling ?? parameters?.optionalObject("full_attention"), config, headDim, reading),
    sliding: readRopeFrom(parameters?.optionalObject("sliding_attention"), config, headDim, reading),
  };
}
