// What a segment consists of: consecutive parts of a decoder, and what crosses between two segments beside hidden states,
// as a list. Knows no graph and no memory.

import { valueDimOf } from "../architectures/blocks.js";
import { attentionOf, requireAttention } from "../architectures/cache-sites.js";
import { blocksOf, type Decoder, type DecoderLayer, type Residual } from "../architectures/description.js";
import type { Side } from "./kv-cache.js";

/** A step of the forward pass. `keys-values` is a layer of which only K and V are computed, and what they need. */
export type SegmentPart =
  | { readonly kind: "embedding" }
  /** A layer, or some of its residuals: a segment may end between two of them. */
  | { readonly kind: "layer"; readonly layer: DecoderLayer; readonly residuals?: ResidualRange }
  | { readonly kind: "keys-values"; readonly layer: DecoderLayer };

/** From `start` to before `end`. */
export interface ResidualRange {
  readonly start: number;
  readonly end: number;
}

/** The residuals of a layer that a part consists of. */
export function residualsOfPart({ layer, residuals }: Extract<SegmentPart, { kind: "layer" }>): readonly Residual[] {
  return residuals === undefined ? layer.residuals : layer.residuals.slice(residuals.start, residuals.end);
}

/** What of a layer comes before its cache is written. */
export function beforeCache({ index, residuals }: DecoderLayer) {
  const number = residuals.findIndex((residual) => attentionOf({ index, residuals: [residual] }) !== undefined);
  const attention = requireAttention({ index, residuals });
  return { before: residuals.slice(0, number), attention };
}

/** The layer whose cache is written in a part; undefined where none is. */
function cacheLayerOfPart(part: SegmentPart): number | undefined {
  if (part.kind === "embedding") return undefined;
  const residuals = part.kind === "layer" ? residualsOfPart(part) : part.layer.residuals;
  return attentionOf({ index: part.layer.index, residuals }) && part.layer.index;
}

/** Layers whose caches are written in some parts, ascending. */
export function cacheLayersOf(parts: readonly SegmentPart[]): number[] {
  return parts.flatMap((part) => cacheLayerOfPart(part) ?? []);
}

/** Layers whose experts are computed in some parts, ascending. */
export function expertLayersOf(parts: readonly SegmentPart[]): number[] {
  return parts.flatMap((part) => {
    if (part.kind === "embedding") return [];
    const residuals = part.kind === "layer" ? residualsOfPart(part) : beforeCache(part.layer).before;
    const hasExperts = blocksOf({ index: part.layer.index, residuals }).some(({ kind }) => kind === "experts");
    return hasExperts ? [part.layer.index] : [];
  });
}

/** What some parts make and others read, beside hidden states. */
export type CrossingValue =
  /** What the embeddings per layer say, for one layer. [batch, tokens, size] */
  | { readonly kind: "per-layer-input"; readonly layer: number }
  /** What is read of a layer's cache, for layers that share it. [batch, tokens, kv_heads × head_dim or value_dim] */
  | { readonly kind: "cached"; readonly layer: number; readonly side: Side };

/** Of the input that it is for a graph; values that are not the same have different names. */
export function nameOfCrossing(value: CrossingValue): string {
  return value.kind === "cached" ? `cached_${value.side}_${value.layer}` : `per_layer_input_${value.layer}`;
}

/** Its numbers per token. */
export function widthOfCrossing({ layers, perLayerInputs }: Decoder, value: CrossingValue): number {
  if (value.kind === "per-layer-input") {
    if (perLayerInputs === undefined) throw new RangeError("the decoder has no embeddings per layer");
    return perLayerInputs.size;
  }
  const layer = layers[value.layer];
  if (layer === undefined) throw new RangeError(`no layer ${value.layer}`);
  const attention = requireAttention(layer);
  return attention.kvHeads * (value.side === "k" ? attention.headDim : valueDimOf(attention));
}

/** Numbers per token of the hidden states that a decoder's first layer reads, and each but the last gives. */
export function hiddenWidth({ hiddenSize, streams }: Decoder): number {
  return hiddenSize * (streams?.count ?? 1);
}

/** Of those behind some parts: behind the last layer there is one stream. */
export function hiddenWidthBehind(decoder: Decoder, parts: readonly SegmentPart[]): number {
  return endsDecoder(decoder, parts) ? decoder.hiddenSize : hiddenWidth(decoder);
}

export function endsDecoder({ layers }: Decoder, parts: readonly SegmentPart[]): boolean {
  const last = parts.at(-1);
  return last?.kind === "layer" && last.layer.index === layers.at(-1)?.index;
}

/** What parts read that they do not make, each once. */
export function crossingInto(parts: readonly SegmentPart[]): CrossingValue[] {
  return once(parts.flatMap(readByPart).filter((value) => !isMadeIn(parts, value)));
}

/** Of what later parts read, what these make. */
export function crossingOutOf(parts: readonly SegmentPart[], later: readonly SegmentPart[]): CrossingValue[] {
  return crossingInto(later).filter((value) => isMadeIn(parts, value));
}

function isMadeIn(parts: readonly SegmentPart[], { kind, layer }: CrossingValue): boolean {
  return kind === "cached" ? cacheLayersOf(parts).includes(layer) : parts.some((part) => part.kind === "embedding");
}

function readByPart(part: SegmentPart): CrossingValue[] {
  if (part.kind === "embedding") return [];
  const { index, altUp } = part.layer;
  const read =
    part.kind === "layer"
      ? { index, residuals: residualsOfPart(part), ...(altUp && { altUp }) }
      : { index, residuals: beforeCache(part.layer).before };
  return blocksOf(read).flatMap((block): CrossingValue[] => {
    if (block.kind === "per-layer-input") return [{ kind: "per-layer-input", layer: block.layer }];
    if (block.kind !== "shared-attention") return [];
    return (["k", "v"] as const).map((side) => ({ kind: "cached", layer: block.cacheOf, side }));
  });
}

function once(values: readonly CrossingValue[]): CrossingValue[] {
  return [...new Map(values.map((value) => [nameOfCrossing(value), value])).values()];
}
