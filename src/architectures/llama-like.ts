// Llama and the families built like it: pre-norm blocks of grouped-query attention and a gated feed-forward. A family is a
// short list of differences. Pure data out; reads no files.

import type { Decoder } from "./description.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, headNorms, preNorm, rmsNormOf, rotateAll } from "./parts.js";
import { readRope } from "./rope.js";
import { readActivation, type Sizes } from "./sizes.js";

/** What Llama's layers are made of: what a family of its kind differs in is a short list. */
export interface LlamaLike {
  readonly sizes: Sizes;
  readonly attentionBias?: { readonly qkv?: boolean; readonly output?: boolean };
  readonly feedForwardBias?: boolean;
  readonly queryKeyNorms?: boolean;
  /** By layer; absent: none. */
  readonly windows?: readonly (number | undefined)[];
}

/** RMS norm, grouped-query attention, RMS norm, gated feed-forward. */
export function llamaLike(input: FamilyInput, family: LlamaLike): Decoder {
  const { config, names } = input;
  const { sizes, attentionBias, feedForwardBias, queryKeyNorms, windows } = family;
  const { hidden } = sizes;
  const norm = rmsNormOf(config);
  const rope = readRope(config, sizes.headDim);
  const intermediate = config.positiveInteger("intermediate_size");
  const activation = readActivation(config);
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer, index) => [
      preNorm(
        norm(layer.attentionNorm, hidden),
        groupedQuery(layer, sizes, attentionBias, {
          rope: rotateAll(rope),
          window: windows?.[index],
          ...(queryKeyNorms && headNorms(layer, sizes, norm)),
        }),
      ),
      preNorm(
        norm(layer.feedForwardNorm, hidden),
        gated(layer, hidden, { intermediate, activation, bias: feedForwardBias ?? false }),
      ),
    ],
    finalNorm: norm(names.finalNorm, hidden),
  });
}
