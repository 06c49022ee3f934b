// GPT-NeoX and Pythia: q, k and v of each head in one group of rows; attention and feed-forward parallel, each with its
// own norm, or in sequence; partial RoPE.

import type { Decoder } from "../description.js";
import { plainAsSaid } from "../llama-like.js";
import {
  decoderOf,
  type FamilyInput,
  groupedQuery,
  groupsOfFused,
  layerNormOf,
  linear,
  normsBefore,
  residual,
  rotateAll,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";
import { LLAMA_NAMES, type NameTable } from "../tensor-names.js";

export const GPT_NEOX_NAMES: NameTable = {
  ...LLAMA_NAMES,
  anchor: "layers.0.attention.query_key_value.weight",
  embedding: "embed_in",
  attention: "attention",
  output: "dense",
  up: "dense_h_to_4h",
  down: "dense_4h_to_h",
  finalNorm: "final_layer_norm",
  head: "embed_out",
};

export function describeGptNeoX(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const { hidden, heads, headDim } = sizes;
  const norm = layerNormOf(config, "layer_norm_eps");
  const rope = readRope(config, headDim, { partial: 0.25, partialKey: "rotary_pct", thetaKey: "rotary_emb_base" });
  const bias = config.boolean("attention_bias", true);
  const isParallel = config.boolean("use_parallel_residual", true);
  const feedForward = plainAsSaid(config, hidden, "gelu", true);
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const fused = linear(`${layer.attention}.query_key_value`, hidden, 3 * heads * headDim, bias);
      const [query, key, value] = groupsOfFused(fused, heads, [headDim, headDim, headDim]);
      const attention = groupedQuery(layer, sizes, { output: bias }, { rope: rotateAll(rope), query, key, value });
      if (!isParallel) return normsBefore(layer, hidden, norm, [attention, feedForward(layer)]);
      return [
        residual([
          { norm: norm(layer.attentionNorm, hidden), block: attention },
          { norm: norm(layer.feedForwardNorm, hidden), block: feedForward(layer) },
        ]),
      ];
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}
