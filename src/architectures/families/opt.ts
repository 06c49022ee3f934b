// OPT: learned positions from the third row on, layer norms before the blocks, a feed-forward directly in the layer.
// OPT-350M, whose norms come after the sums and whose embedding is projected, is refused.

import { UnsupportedModelError } from "../../errors.js";
import type { FeedForward, LayerNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { decoderOf, type FamilyInput, groupedQuery, linear, preNorm } from "../parts.js";
import { readActivation, readSizes } from "../sizes.js";
import { type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";

export const OPT_NAMES: NameTable = {
  ...LLAMA_NAMES,
  output: "out_proj",
  attentionNorm: "self_attn_layer_norm",
  feedForwardNorm: "final_layer_norm",
  finalNorm: "final_layer_norm",
};

export function describeOpt(input: FamilyInput): Decoder {
  const { config, names } = input;
  if (!config.boolean("do_layer_norm_before", true)) {
    throw new UnsupportedModelError(
      `${config.nameOf("do_layer_norm_before")}: false is not supported: norms would come after the sum of a block and its input`,
    );
  }
  const sizes = readSizes(config);
  const { hidden } = sizes;
  config.ignoreIf("word_embed_proj_dim", [hidden], "the embedding is as wide as hidden_size: no projection");
  const bias = config.boolean("enable_bias", true);
  const isAffine = config.boolean("layer_norm_elementwise_affine", true);
  const norm = (name: string): LayerNorm => ({
    ...{ kind: "layer", size: hidden, epsilon: 1e-5 },
    ...(isAffine && { weight: tensorSource(`${name}.weight`, [hidden]), bias: tensorSource(`${name}.bias`, [hidden]) }),
  });
  const width = config.positiveInteger("ffn_dim");
  const activation = readActivation(config, "activation_function", "relu");
  const feedForward = (layer: LayerNames): FeedForward => ({
    kind: "feed-forward",
    activation,
    up: linear(layer.of("fc1"), hidden, width, bias),
    down: linear(layer.of("fc2"), width, hidden, bias),
  });
  const tokens = config.positiveInteger("max_position_embeddings", 2048);
  return decoderOf(input, {
    sizes,
    ropes: [],
    embedding: { positions: { weight: `${names.of("embed_positions")}.weight`, offset: 2, tokens } },
    layer: (layer) => [
      preNorm(norm(layer.attentionNorm), groupedQuery(layer, sizes, { qkv: bias, output: bias })),
      preNorm(norm(layer.feedForwardNorm), feedForward(layer)),
    ],
    finalNorm: norm(names.finalNorm),
    tied: true,
  });
}
