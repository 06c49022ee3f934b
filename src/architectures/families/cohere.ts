// Command R: attention and feed-forward side by side behind one layer norm without bias, neighbours rotated, logits scaled.

import type { Attention, Norm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, layerNormOf, residual } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";

export function describeCohere(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const { hidden, heads, kvHeads, headDim } = sizes;
  const norm = layerNormOf(config, "layer_norm_eps", { bias: false });
  const rope = readRope(config, headDim, { defaultTheta: 500_000 });
  const bias = config.boolean("attention_bias", false);
  const hasHeadNorms = config.boolean("use_qk_norm", false);
  const intermediate = config.positiveInteger("intermediate_size");
  const activation = readActivation(config);
  /** A weight of its own for each head. */
  const headNorm = (name: string, count: number) => {
    const weight = tensorSource(`${name}.weight`, [count, headDim]);
    const each: Norm = { ...norm(name, headDim), weight };
    return { norm: each, over: "head", when: "before-rotation" } as const;
  };
  const headNorms = (layer: LayerNames): Pick<Attention, "queryNorm" | "keyNorm"> => ({
    queryNorm: headNorm(layer.inAttention("queryNorm"), heads),
    keyNorm: headNorm(layer.inAttention("keyNorm"), kvHeads),
  });
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const before = norm(layer.attentionNorm, hidden);
      const attention = groupedQuery(
        layer,
        sizes,
        { qkv: bias, output: bias },
        { rope: { rope: 0, dimensions: headDim, pairing: "neighbours" }, ...(hasHeadNorms && headNorms(layer)) },
      );
      const feedForward = gated(layer, hidden, { intermediate, activation });
      return [
        residual([
          { norm: before, block: attention },
          { norm: before, block: feedForward },
        ]),
      ];
    },
    finalNorm: norm(names.finalNorm, hidden),
    logits: { multiplier: config.positiveNumber("logit_scale", 0.0625) },
    tied: true,
  });
}
