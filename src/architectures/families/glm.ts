// GLM-4 of 2024 and GLM-4-0414: interleaved RoPE on half of each head; gate and up in one tensor; biases of q, k
// and v. The newer one has norms after the blocks, too.

import type { Norm } from "../blocks.js";
import type { Decoder, Residual } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gatedFused,
  groupedQuery,
  normsBefore,
  rmsNormOf,
  rotateAll,
  sandwich,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";

export function describeGlm(input: FamilyInput): Decoder {
  return glmDecoder(input, (layer, hidden, norm, blocks) => normsBefore(layer, hidden, norm, blocks));
}

export function describeGlm4(input: FamilyInput): Decoder {
  return glmDecoder(input, (layer, hidden, norm, [attention, feedForward]) => [
    sandwich(norm(layer.attentionNorm, hidden), attention, norm(layer.of("post_self_attn_layernorm"), hidden)),
    sandwich(norm(layer.feedForwardNorm, hidden), feedForward, norm(layer.of("post_mlp_layernorm"), hidden)),
  ]);
}

type Arrange = (
  layer: LayerNames,
  hidden: number,
  norm: (name: string, size: number) => Norm,
  blocks: readonly [ReturnType<typeof groupedQuery>, ReturnType<typeof gatedFused>],
) => Residual[];

/** @param arrange the place of the norms */
function glmDecoder(input: FamilyInput, arrange: Arrange): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 2, headDim: 128 });
  const { hidden } = sizes;
  const norm = rmsNormOf(config, "rms_norm_eps", 1.5625e-7);
  const rope = readRope(config, sizes.headDim, { partial: 0.5 });
  const qkv = config.boolean("attention_bias", true);
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const rotation = { ...rotateAll(rope), pairing: "neighbours" } as const;
      const attention = groupedQuery(layer, sizes, { qkv }, { rope: rotation });
      return arrange(layer, hidden, norm, [attention, gatedFused(layer, hidden, inner)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}
