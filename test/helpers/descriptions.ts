// Descriptions of layers as tests look at them and change them.

import type { Attention, Block, FeedForward } from "../../src/architectures/blocks.js";
import { requireAttention } from "../../src/architectures/cache-sites.js";
import { blocksOf, type Decoder, type DecoderLayer } from "../../src/architectures/description.js";

/** The attention of a layer. */
export function attentionOfLayer(layer: DecoderLayer | undefined): Attention {
  if (layer === undefined) throw new Error("no such layer");
  return requireAttention(layer);
}

/** The feed-forward of a layer. */
export function feedForwardOfLayer(layer: DecoderLayer | undefined): FeedForward {
  const found = layer && blocksOf(layer).find((block) => block.kind === "feed-forward");
  if (found === undefined) throw new Error("no such layer");
  return found;
}

/** The decoder with other blocks. */
export function withBlocks(decoder: Decoder, change: (block: Block) => Block): Decoder {
  const layers = decoder.layers.map((layer) => ({
    ...layer,
    residuals: layer.residuals.map((residual) => {
      const [first, ...others] = residual.branches;
      const changed = (branch: typeof first) => ({ ...branch, block: change(branch.block) });
      return { ...residual, branches: [changed(first), ...others.map(changed)] as const };
    }),
  }));
  return { ...decoder, layers };
}

/** The decoder with something of its attention otherwise. */
export function withAttention(decoder: Decoder, changes: Partial<Attention>): Decoder {
  return withBlocks(decoder, (block) => (block.kind === "attention" ? { ...block, ...changes } : block));
}
