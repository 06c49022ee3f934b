// The per-layer embeddings of Gemma 3n and 4: the decoder's tables, and the residual of each layer that reads them.
// Pure data out; reads no files.

import type { Activation, Norm } from "./blocks.js";
import type { PerLayerInputs, Residual } from "./description.js";
import { type FamilyInput, linear, residual } from "./parts.js";
import type { Sizes } from "./sizes.js";
import type { LayerNames } from "./tensor-names.js";
import type { WeightSource } from "./weight-source.js";

/** transformers' defaults. */
const DEFAULTS = { size: 256, tokens: 262_144 } as const;

export interface PerLayerEmbeddings {
  readonly inputs: PerLayerInputs;
  readonly block: (layer: LayerNames, index: number) => Residual["branches"][0];
}

/** undefined if `hidden_size_per_layer_input` is 0. */
export function readPerLayerEmbeddings(
  { config, names }: FamilyInput,
  { hidden, layers }: Sizes,
  norm: (name: string, size: number) => Norm,
  activation: Activation,
): PerLayerEmbeddings | undefined {
  const size = config.count("hidden_size_per_layer_input", DEFAULTS.size);
  if (size === 0) {
    config.ignore("vocab_size_per_layer_input", "hidden_size_per_layer_input is 0: there are none");
    return undefined;
  }
  const tokens = config.positiveInteger("vocab_size_per_layer_input", DEFAULTS.tokens);
  const all = linear(names.of("per_layer_model_projection"), hidden, layers * size);
  const rows = (start: number, end: number): WeightSource => ({ kind: "rows", of: all.weight, start, end });
  return {
    inputs: {
      size,
      table: { name: `${names.of("embed_tokens_per_layer")}.weight`, tokens, layers },
      tokenMultiplier: Math.sqrt(size),
      projections: Array.from({ length: layers }, (_, layer) => {
        return { weight: rows(layer * size, (layer + 1) * size), inputs: hidden, outputs: size };
      }),
      projectionMultiplier: hidden ** -0.5,
      norm: norm(names.of("per_layer_projection_norm"), size),
      multiplier: Math.SQRT1_2,
    },
    block: (layer, index) => ({
      block: {
        ...{ kind: "per-layer-input", layer: index, activation },
        gate: linear(layer.of("per_layer_input_gate"), hidden, size),
        projection: linear(layer.of("per_layer_projection"), size, hidden),
      },
      postNorm: norm(layer.of("post_per_layer_input_norm"), hidden),
    }),
  };
}

/** Their residual, if there is one. */
export function perLayerResiduals(
  embeddings: PerLayerEmbeddings | undefined,
  layer: LayerNames,
  index: number,
): Residual[] {
  return embeddings === undefined ? [] : [residual([embeddings.block(layer, index)])];
}
