// Where a decoder writes K and V. Ranges, scales, arms, records and reports iterate only over these sites. A layer
// without attention has no site; a layer that reads another layer's cache is listed in that site. Knows no graph.

import { type Attention, valueDimOf } from "./blocks.js";
import { blocksOf, type Decoder, type DecoderLayer } from "./description.js";

export interface CacheSite {
  readonly layer: number;
  /** Prefix of the attention's tensors and of its scales. */
  readonly name: string;
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Layers that read this cache and write none. Engines look for its scales under their names, too. */
  readonly sharedBy: readonly { readonly layer: number; readonly name: string }[];
}

/** The cache sites in the order of layers. */
export function cacheSites({ layers }: Pick<Decoder, "layers">): CacheSite[] {
  const readers = layers.flatMap((layer) =>
    blocksOf(layer).flatMap((block) =>
      block.kind === "shared-attention" ? [{ cacheOf: block.cacheOf, layer: layer.index, name: block.name }] : [],
    ),
  );
  return layers.flatMap((layer) => {
    const attention = attentionOf(layer);
    if (attention === undefined) return [];
    const { name, kvHeads, headDim: keyDim } = attention;
    const sharedBy = readers.filter(({ cacheOf }) => cacheOf === layer.index);
    return {
      ...{ layer: layer.index, name, kvHeads, keyDim, valueDim: valueDimOf(attention) },
      sharedBy: sharedBy.map(({ layer: number, name: reader }) => ({ layer: number, name: reader })),
    };
  });
}

/** The attention of a layer that writes a cache. */
export function attentionOf(layer: DecoderLayer): Attention | undefined {
  return blocksOf(layer).find((block) => block.kind === "attention");
}

/** The attention of a layer that must have one. @throws RangeError */
export function requireAttention(layer: DecoderLayer): Attention {
  const attention = attentionOf(layer);
  if (attention === undefined) throw new RangeError(`layer ${layer.index} has no attention`);
  return attention;
}
