// Gemma 1: Llama with norms that add 1 to their weights, and embeddings multiplied by √hidden_size.

import { UnsupportedModelError } from "../../errors.js";
import type { Activation } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, plusOneNormOf, preNorm, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";

const DEFAULT_SIZES = { hidden: 3072, layers: 28, heads: 16, kvHeads: 16, headDim: 256 } as const;

export function describeGemma(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, DEFAULT_SIZES);
  const norm = plusOneNormOf(config);
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const inner = {
    intermediate: config.positiveInteger("intermediate_size", 24_576),
    activation: readGemmaActivation(config),
  };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    embedding: { multiplier: Math.sqrt(sizes.hidden) },
    layer: (layer) => [
      preNorm(
        norm(layer.attentionNorm, sizes.hidden),
        groupedQuery(layer, sizes, { qkv: bias, output: bias }, { rope: rotateAll(rope) }),
      ),
      preNorm(norm(layer.feedForwardNorm, sizes.hidden), gated(layer, sizes.hidden, inner)),
    ],
    finalNorm: norm(names.finalNorm, sizes.hidden),
    tied: true,
    vocabulary: 256_000,
  });
}

/** The first releases say "gelu" and mean its approximation, which transformers takes, too. */
function readGemmaActivation(config: ModelConfig): Activation {
  const activation = readActivation(config, "hidden_act", "gelu_pytorch_tanh");
  const meant = activation === "gelu" ? "gelu_tanh" : activation;
  const other = config.has("hidden_activation") ? readActivation(config, "hidden_activation") : meant;
  if (other === meant) return meant;
  throw new UnsupportedModelError(
    `${config.nameOf("hidden_activation")}: says something else than hidden_act, and which of them counts differs between versions of transformers`,
  );
}
