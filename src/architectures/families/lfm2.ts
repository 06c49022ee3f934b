// LFM2: gated short convolutions in most layers, attention with norms over each head in the others, each followed by a
// gated feed-forward. Only the layers with attention have a cache.

import type { Block, ShortConvolution } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  headNorms,
  linear,
  normsBefore,
  rmsNormOf,
  rotateAll,
  rowsOfFused,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes, type Sizes } from "../sizes.js";
import { type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";
import { layerTypes } from "../windows.js";

/** Layer 0 may have no attention: the anchor is the norm that every layer begins with. */
export const LFM2_NAMES: NameTable = {
  ...LLAMA_NAMES,
  anchor: "layers.0.operator_norm.weight",
  output: "out_proj",
  queryNorm: "q_layernorm",
  keyNorm: "k_layernorm",
  feedForward: "feed_forward",
  gate: "w1",
  up: "w3",
  down: "w2",
  attentionNorm: "operator_norm",
  feedForwardNorm: "ffn_norm",
  finalNorm: "embedding_norm",
};

export function describeLfm2(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readLfm2Sizes(config);
  const { hidden, heads } = sizes;
  for (const key of ["block_dim", "conv_dim", "conv_dim_out"]) config.ignoreIf(key, [hidden], "the hidden size again");
  config.ignoreIf("num_heads", [heads], "num_attention_heads again");
  config.ignoreIf("block_norm_eps", [config.peek("norm_eps")], "norm_eps again");
  for (const key of ["block_use_swiglu", "use_pos_enc"]) config.ignoreIf(key, [true], "what this family is anyway");
  const intermediate = readIntermediate(config);
  return lfm2Like(input, sizes, (layer) => gated(layer, hidden, { intermediate, activation: "silu" }));
}

export function readLfm2Sizes(config: ModelConfig): Sizes {
  return readSizes(config, { hidden: 2560, layers: 32, heads: 32, kvHeads: 8 });
}

/** @param feedForward the block behind the attention or the convolution of each layer */
export function lfm2Like(
  input: FamilyInput,
  sizes: Sizes,
  feedForward: (names: LayerNames, layer: number) => Block,
): Decoder {
  const { config, names } = input;
  const { hidden, headDim } = sizes;
  const norm = rmsNormOf(config, "norm_eps", 1e-5);
  const rope = readRope(config, headDim, { defaultTheta: 1_000_000 });
  const hasAttention = layersWithAttention(config, sizes.layers);
  const kernel = config.positiveInteger("conv_L_cache", 3);
  const bias = config.boolean("conv_bias", false);
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer, index) => {
      const mixing = hasAttention[index]
        ? groupedQuery(layer, sizes, {}, { rope: rotateAll(rope), ...headNorms(layer, sizes, norm) })
        : shortConvolution(layer.of("conv"), { channels: hidden, kernel, bias });
      return normsBefore(layer, hidden, norm, [mixing, feedForward(layer, index)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
    tied: true,
    tiedBy: config.has("tie_embedding") ? "tie_embedding" : "tie_word_embeddings",
  });
}

function shortConvolution(
  name: string,
  { channels, kernel, bias }: { readonly channels: number; readonly kernel: number; readonly bias: boolean },
): ShortConvolution {
  const thirds = [channels, channels, channels] as const;
  const [gateBefore, gateBehind, input] = rowsOfFused(`${name}.in_proj`, channels, thirds, bias);
  const convolution = {
    weight: tensorSource(`${name}.conv.weight`, [channels, 1, kernel]),
    ...(bias && { bias: tensorSource(`${name}.conv.bias`, [channels]) }),
    ...{ channels, kernel },
  };
  const output = linear(`${name}.out_proj`, channels, channels, bias);
  return { kind: "short-convolution", gateBefore, input, convolution, gateBehind, output };
}

/** `layer_types`, else `full_attn_idxs`; where both are absent, all layers. */
function layersWithAttention(config: ModelConfig, layers: number): boolean[] {
  const types = layerTypes(config, layers, ["full_attention", "conv"]);
  if (types === undefined) {
    const numbers = config.optionalNumbers("full_attn_idxs");
    return Array.from({ length: layers }, (_, layer) => numbers?.includes(layer) ?? true);
  }
  config.ignore("full_attn_idxs", "layer_types says which layers have attention");
  return types.map((type) => type === "full_attention");
}

/** `block_ff_dim`, else `intermediate_size`; unless it says otherwise, two thirds of that, rounded up. */
function readIntermediate(config: ModelConfig): number {
  const key = config.has("block_ff_dim") ? "block_ff_dim" : "intermediate_size";
  if (key === "block_ff_dim") config.ignore("intermediate_size", "block_ff_dim takes its place");
  const said = config.positiveInteger(key, 12288);
  if (!config.boolean("block_auto_adjust_ff_dim", true)) {
    const unused = "block_auto_adjust_ff_dim is false";
    for (const each of ["block_ffn_dim_multiplier", "block_multiple_of"]) config.ignore(each, unused);
    return said;
  }
  const multiple = config.positiveInteger("block_multiple_of", 256);
  const multiplier = config.positiveNumber("block_ffn_dim_multiplier", 1);
  const adjusted = Math.trunc(multiplier * Math.trunc((2 * said) / 3));
  return multiple * Math.ceil(adjusted / multiple);
}
