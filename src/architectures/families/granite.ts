// Granite 3: Llama with multipliers of embeddings, residuals, scores and logits.

import type { Block, Norm } from "../blocks.js";
import type { Decoder, Residual } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, residual, rmsNormOf, rotateAll } from "../parts.js";
import { type Rope, readRope } from "../rope.js";
import { readActivation, readSizes, type Sizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";

export function describeGranite(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const rope = readRope(config, sizes.headDim);
  const scale = config.positiveNumber("attention_multiplier", 1);
  return graniteLike(input, {
    sizes,
    ropes: [rope],
    attention: () => ({ rope: rotateAll(rope), scale }),
    logits: 1 / config.positiveNumber("logits_scaling", 1),
  });
}

/** Differences between Granite's families. */
export interface GraniteLike {
  readonly sizes: Sizes;
  readonly ropes: readonly Rope[];
  readonly attention: (names: LayerNames, index: number) => Parameters<typeof groupedQuery>[3];
  /** The block in place of a layer's attention, where there is one. */
  readonly mixer?: (names: LayerNames, index: number) => Block | undefined;
  /** Factor on logits. */
  readonly logits: number;
  /** Absent: gated, with `intermediate_size`. */
  readonly feedForward?: (names: LayerNames) => Block;
  /** Names of norms after attention and feed-forward, if there are any. */
  readonly postNorms?: readonly [string, string];
  readonly epsilon?: number;
  readonly tied?: boolean;
}

/** Llama's layers, with multipliers of embeddings, residuals and logits. */
export function graniteLike(input: FamilyInput, family: GraniteLike): Decoder {
  const { config, names } = input;
  const { sizes, postNorms } = family;
  const norm = rmsNormOf(config, "rms_norm_eps", family.epsilon);
  const bias = config.boolean("attention_bias", false);
  const multiplier = config.positiveNumber("residual_multiplier", 1);
  const feedForward = family.feedForward ?? gatedAsSaid(config, sizes.hidden);
  return decoderOf(input, {
    sizes,
    ropes: family.ropes,
    embedding: { multiplier: config.positiveNumber("embedding_multiplier", 1) },
    layer: (layer, index) => {
      const attention =
        family.mixer?.(layer, index) ??
        groupedQuery(layer, sizes, { qkv: bias, output: bias }, family.attention(layer, index));
      const after = postNorms?.map((name) => norm(layer.of(name), sizes.hidden)) ?? [];
      return [
        around(norm(layer.attentionNorm, sizes.hidden), attention, after[0], multiplier),
        around(norm(layer.feedForwardNorm, sizes.hidden), feedForward(layer), after[1], multiplier),
      ];
    },
    finalNorm: norm(names.finalNorm, sizes.hidden),
    logits: { multiplier: family.logits },
    tied: family.tied ?? false,
  });
}

function gatedAsSaid(config: ModelConfig, hidden: number): (names: LayerNames) => Block {
  const inner = {
    intermediate: config.positiveInteger("intermediate_size"),
    activation: readActivation(config),
    bias: config.boolean("mlp_bias", false),
  };
  return (layer) => gated(layer, hidden, inner);
}

/** x + multiplier · postNorm(block(norm(x))) */
function around(norm: Norm, block: Block, postNorm: Norm | undefined, multiplier: number): Residual {
  return residual([{ norm, block, ...(postNorm !== undefined && { postNorm }) }], multiplier);
}
