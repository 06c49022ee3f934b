// Apertus: norms over each head of q and k, and a feed-forward without gate whose activation has learned numbers.

import type { FeedForward } from "../blocks.js";
import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { type FamilyInput, plain } from "../parts.js";
import { readActivation, readSizes } from "../sizes.js";
import { type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";

export const APERTUS_NAMES: NameTable = {
  ...LLAMA_NAMES,
  attentionNorm: "attention_layernorm",
  feedForwardNorm: "feedforward_layernorm",
};

/** For checkpoints whose config.json has no RoPE parameters. */
const LLAMA3_ROPE = {
  rope_type: "llama3",
  rope_theta: 12_000_000,
  factor: 8,
  original_max_position_embeddings: 8192,
  low_freq_factor: 1,
  high_freq_factor: 4,
};

export function describeApertus(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  config.ignoreIf("qk_norm", [true], "what this family is anyway");
  const bias = config.boolean("attention_bias", false);
  const intermediate = config.positiveInteger("intermediate_size");
  const isXielu = config.string("hidden_act", "xielu") === "xielu";
  const activation = (names: LayerNames) => (isXielu ? xieluOf(names) : readActivation(config));
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    feedForward: (names) => plain(names, sizes.hidden, { intermediate, activation: activation(names) }),
    queryKeyNorms: "before-rotation",
    rope: { absent: LLAMA3_ROPE },
    epsilon: 1e-5,
  });
}

function xieluOf(names: LayerNames): FeedForward["activation"] {
  const number = (name: string, shape: readonly number[]) => tensorSource(`${names.feedForward}.act_fn.${name}`, shape);
  return {
    kind: "xielu",
    positive: number("alpha_p", [1]),
    negative: number("alpha_n", [1]),
    beta: number("beta", []),
    epsilon: number("eps", []),
  };
}
