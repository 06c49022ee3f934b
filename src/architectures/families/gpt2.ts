// GPT-2 and the GPT-BigCode of StarCoder 1: learned positions, q, k and v in one tensor, no rotation. GPT-2 stores its weights
// inputs first; GPT-BigCode has one KV head for all queries, or q, k and v head by head.

import type { FeedForward, Linear } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import {
  decoderOf,
  type FamilyInput,
  groupedQuery,
  groupsOfFused,
  layerNormOf,
  linear,
  normsBefore,
  turnedLinear,
} from "../parts.js";
import { readActivation, readGptSizes, type Sizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";

export function describeGpt2(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readGptSizes(config);
  config.ignore("reorder_and_upcast_attn", "the order and the type of the same sums");
  config.ignore("n_special", "of the original code");
  config.ignore("predict_special_tokens", "of the original code");
  const isScaled = config.boolean("scale_attn_weights", true);
  const isScaledByLayer = config.boolean("scale_attn_by_inverse_layer_idx", false);
  const { hidden, headDim } = sizes;
  return gptDecoder(input, {
    sizes,
    activation: "gelu_new",
    linear: turnedLinear,
    queryKeyValue: (name) => groupsOfFused(turnedLinear(name, hidden, 3 * hidden), 1, [hidden, hidden, hidden]),
    scale: (layer) => (isScaled ? headDim ** -0.5 : 1) / (isScaledByLayer ? layer + 1 : 1),
  });
}

export function describeGptBigCode(input: FamilyInput): Decoder {
  const { config } = input;
  const all = readGptSizes(config);
  config.ignore("num_key_value_heads", "multi_query takes its place, as in transformers");
  const sizes = { ...all, kvHeads: config.boolean("multi_query", true) ? 1 : all.heads };
  const { hidden, heads, kvHeads, headDim } = sizes;
  const scale = config.boolean("scale_attn_weights", true) ? headDim ** -0.5 : 1;
  return gptDecoder(input, {
    sizes,
    activation: "gelu_pytorch_tanh",
    linear: (name, inputs, outputs) => linear(name, inputs, outputs, true),
    queryKeyValue: (name) => {
      const fused = linear(name, hidden, (heads + 2 * kvHeads) * headDim, true);
      return groupsOfFused(fused, kvHeads, [(heads / kvHeads) * headDim, headDim, headDim]);
    },
    scale: () => scale,
  });
}

/** Differences between the two. */
interface GptLike {
  readonly sizes: Sizes;
  /** transformers' default for `activation_function`. */
  readonly activation: string;
  readonly linear: (name: string, inputs: number, outputs: number) => Linear;
  readonly queryKeyValue: (name: string) => readonly [Linear, Linear, Linear];
  readonly scale: (layer: number) => number;
}

function gptDecoder(input: FamilyInput, family: GptLike): Decoder {
  const { config, names } = input;
  const { sizes } = family;
  const { hidden } = sizes;
  const norm = layerNormOf(config, "layer_norm_epsilon");
  const feedForward = readFeedForward(config, family);
  const tokens = config.positiveInteger("n_positions", 1024);
  return decoderOf(input, {
    sizes,
    ropes: [],
    embedding: { positions: { weight: `${names.of("wpe")}.weight`, offset: 0, tokens } },
    layer: (layer, index) => {
      const [query, key, value] = family.queryKeyValue(`${layer.attention}.c_attn`);
      const output = family.linear(layer.inAttention("output"), hidden, hidden);
      const attention = groupedQuery(layer, sizes, {}, { query, key, value, output, scale: family.scale(index) });
      return normsBefore(layer, hidden, norm, [attention, feedForward(layer)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
    tied: true,
  });
}

function readFeedForward(config: ModelConfig, { sizes, ...family }: GptLike): (layer: LayerNames) => FeedForward {
  const width = config.positiveInteger("n_inner", 4 * sizes.hidden);
  const activation = readActivation(config, "activation_function", family.activation);
  return (layer) => ({
    kind: "feed-forward",
    activation,
    up: family.linear(layer.inFeedForward("up"), sizes.hidden, width),
    down: family.linear(layer.inFeedForward("down"), width, sizes.hidden),
  });
}
