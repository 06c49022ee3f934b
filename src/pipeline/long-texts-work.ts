// How much work long texts are, for an estimate of time: products by weights, and what each token reads of those before it.
// Pure arithmetic on sizes.

import { valueDimOf } from "../architectures/blocks.js";
import { blocksOf, type Decoder } from "../architectures/description.js";

/** Texts that are evaluated whole, of which the output head looks at some positions. */
export interface LongTexts {
  readonly windows: readonly (readonly number[])[]; // [texts][tokens]
  readonly positions: readonly (readonly number[])[]; // [texts][positions]
  readonly passes: number;
}

/**
 * Work of long texts in all passes. What a token reads of those before it is no small part of it, as it is for short ones.
 * @param products multiplications by weights per token
 */
export function workOfLongTexts(decoder: Decoder, { windows, positions, passes }: LongTexts, products: number): number {
  const looksAt = positions.reduce((sum, { length }) => sum + length, 0);
  const work = windows.reduce(
    (sum, { length }) => sum + length * products + attentionProducts(decoder, length),
    looksAt * decoder.hiddenSize * decoder.vocabularySize,
  );
  return passes * work;
}

/** Multiplications of queries by keys and of shares by values, in all layers: each token reads those up to itself. */
function attentionProducts({ layers }: Decoder, tokens: number): number {
  const blocks = layers.flatMap(blocksOf);
  return blocks.reduce((sum, block) => {
    if (block.kind !== "attention" && block.kind !== "shared-attention") return sum;
    const { heads, headDim, slidingWindow = tokens, chunkSize = tokens } = block;
    const reads = Math.min(tokens, slidingWindow, chunkSize);
    // Until a window is full, it grows with the tokens.
    const pairs = reads * (tokens - reads) + (reads * (reads + 1)) / 2;
    return sum + pairs * heads * (headDim + valueDimOf(block));
  }, 0);
}
