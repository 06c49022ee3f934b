// OLMo 1: layer norms without weights; q, k and v clamped, if there is a limit.

import type { LayerNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, preNorm, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";

export function describeOlmo(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const norm: LayerNorm = { kind: "layer", size: sizes.hidden, epsilon: 1e-5 };
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const clip = config.optionalPositiveNumber("clip_qkv");
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => [
      preNorm(
        norm,
        groupedQuery(
          layer,
          sizes,
          { qkv: bias, output: bias },
          { rope: rotateAll(rope), ...(clip !== undefined && { clip }) },
        ),
      ),
      preNorm(norm, gated(layer, sizes.hidden, inner)),
    ],
    finalNorm: norm,
  });
}
