// Command R: parallel attention and feed-forward after one layer norm without bias, interleaved RoPE, scaled logits.

import type { Attention, Norm } from "../blocks.js";
import type { Branch, Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, layerNormOf, residual, rotateAll } from "../parts.js";
import { type RopeReading, readRope } from "../rope.js";
import { readActivation, readSizes, type Sizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";

export function describeCohere(input: FamilyInput): Decoder {
  const { config } = input;
  return cohereLike(input, {
    sizes: readSizes(config),
    rope: { defaultTheta: 500_000 },
    queryKeyNorms: config.boolean("use_qk_norm", false),
  });
}

/** Differences between Cohere's families. */
interface CohereLike {
  readonly sizes: Sizes;
  readonly rope?: RopeReading;
  readonly queryKeyNorms?: boolean;
  /** Sliding window by layer; absent: none. */
  readonly windows?: readonly (number | undefined)[];
  /** The layers that rotate; absent: all. */
  readonly rotates?: (layer: number) => boolean;
  /** Absent: layer norms without bias. */
  readonly norm?: (name: string, size: number) => Norm;
  /** Absent: gated, with `intermediate_size`. */
  readonly feedForward?: (names: LayerNames, layer: number) => Omit<Branch, "norm">;
}

/** Parallel attention and feed-forward after one norm. */
export function cohereLike(input: FamilyInput, family: CohereLike): Decoder {
  const { config, names } = input;
  const { hidden, heads, kvHeads, headDim } = family.sizes;
  const layerNorm = layerNormOf(config, "layer_norm_eps", { bias: false });
  const norm = family.norm ?? layerNorm;
  const rope = readRope(config, headDim, family.rope);
  const bias = config.boolean("attention_bias", false);
  const feedForward = family.feedForward ?? gatedAsSaid(config, hidden);
  /** A weight of its own for each head. */
  const headNorm = (name: string, count: number) => {
    const weight = tensorSource(`${name}.weight`, [count, headDim]);
    const each: Norm = { ...layerNorm(name, headDim), weight };
    return { norm: each, over: "head", when: "before-rotation" } as const;
  };
  const headNorms = (layer: LayerNames): Pick<Attention, "queryNorm" | "keyNorm"> => ({
    queryNorm: headNorm(layer.inAttention("queryNorm"), heads),
    keyNorm: headNorm(layer.inAttention("keyNorm"), kvHeads),
  });
  return decoderOf(input, {
    sizes: family.sizes,
    ropes: [rope],
    layer: (layer, index) => {
      const before = norm(layer.attentionNorm, hidden);
      const attention = groupedQuery(
        layer,
        family.sizes,
        { qkv: bias, output: bias },
        {
          ...(family.rotates?.(index) !== false && { rope: { ...rotateAll(rope), pairing: "neighbours" } }),
          window: family.windows?.[index],
          ...(family.queryKeyNorms && headNorms(layer)),
        },
      );
      return [
        residual([
          { norm: before, block: attention },
          { norm: before, ...feedForward(layer, index) },
        ]),
      ];
    },
    finalNorm: norm(names.finalNorm, hidden),
    logits: { multiplier: config.positiveNumber("logit_scale", 0.0625) },
    tied: true,
  });
}

function gatedAsSaid(config: ModelConfig, hidden: number): (names: LayerNames) => Omit<Branch, "norm"> {
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return (names) => ({ block: gated(names, hidden, inner) });
}
