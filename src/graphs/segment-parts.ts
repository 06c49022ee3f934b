// What a segment consists of: consecutive parts of a decoder, and what crosses between two segments beside hidden states,
// as a list. Knows no graph and no memory.

import { valueDimOf } from "../architectures/blocks.js";
import { attentionOf, requireAttention } from "../architectures/cache-sites.js";
import { blocksOf, type Decoder, type DecoderLayer, type Residual } from "../architectures/description.js";
import type { Arithmetic } from "./arithmetic.js";
import type { Side } from "./kv-cache.js";

/** A step of the forward pass. `keys-values` is a layer of which only K and V are computed, and what they need. */
export type SegmentPart =
  | { readonly kind: "embedding" }
  /**
   * A layer, or some of its residuals: a segment may end between two of them. Of a mixture that is cut, in the first of
   * these residuals, the experts from `expertsFrom` on; the sum of those before crosses.
   */
  | {
      readonly kind: "layer";
      readonly layer: DecoderLayer;
      readonly residuals?: IndexRange;
      readonly expertsFrom?: number;
    }
  /** Some experts of the mixture in a residual: what they give joins the sum that crosses. Hidden states stay. */
  | { readonly kind: "experts"; readonly layer: DecoderLayer; readonly residual: number; readonly experts: IndexRange }
  | { readonly kind: "keys-values"; readonly layer: DecoderLayer };

/** From `start` to before `end`. */
export interface IndexRange {
  readonly start: number;
  readonly end: number;
}

/** The residuals of a layer that a part consists of, whole: of a mixture that is cut, all experts are there. */
export function residualsOfPart({ layer, residuals }: Extract<SegmentPart, { kind: "layer" }>): readonly Residual[] {
  return residuals === undefined ? layer.residuals : layer.residuals.slice(residuals.start, residuals.end);
}

/** Whether a layer is complete behind a part. */
export function endsLayer(part: SegmentPart): boolean {
  if (part.kind === "keys-values") return true;
  return part.kind === "layer" && (part.residuals?.end ?? part.layer.residuals.length) === part.layer.residuals.length;
}

/** Whether parts make hidden states; the last K and V do not, nor do experts that others follow. */
export function givesHidden(parts: readonly SegmentPart[]): boolean {
  const last = parts.at(-1)?.kind;
  return last !== "keys-values" && last !== "experts";
}

/** What of a layer comes before its cache is written. */
export function beforeCache({ index, residuals }: DecoderLayer) {
  const number = residuals.findIndex((residual) => attentionOf({ index, residuals: [residual] }) !== undefined);
  const attention = requireAttention({ index, residuals });
  return { before: residuals.slice(0, number), attention };
}

/** The layer whose cache is written in a part; undefined where none is. */
function cacheLayerOfPart(part: SegmentPart): number | undefined {
  if (part.kind === "embedding" || part.kind === "experts") return undefined;
  const residuals = part.kind === "layer" ? residualsOfPart(part) : part.layer.residuals;
  return attentionOf({ index: part.layer.index, residuals }) && part.layer.index;
}

/** Layers whose caches are written in some parts, ascending. */
export function cacheLayersOf(parts: readonly SegmentPart[]): number[] {
  return parts.flatMap((part) => cacheLayerOfPart(part) ?? []);
}

/** The first layer whose cache is not written up to the end of some parts, which follow each other. */
export function layersWithCacheBehind(parts: readonly SegmentPart[]): number {
  const last = parts.at(-1);
  if (last === undefined || last.kind === "embedding") return 0;
  const { index, residuals } = last.layer;
  if (endsLayer(last)) return index + 1;
  const end = last.kind === "experts" ? last.residual : last.kind === "layer" ? (last.residuals?.end ?? 0) : 0;
  return attentionOf({ index, residuals: residuals.slice(end) }) === undefined ? index + 1 : index;
}

/** Layers whose experts are computed in some parts, ascending, and the first of these experts. */
export function expertLayersOf(parts: readonly SegmentPart[]): { readonly layer: number; readonly first: number }[] {
  return parts.flatMap((part) => {
    if (part.kind === "embedding") return [];
    const layer = part.layer.index;
    if (part.kind === "experts") return [{ layer, first: part.experts.start }];
    const residuals = part.kind === "layer" ? residualsOfPart(part) : beforeCache(part.layer).before;
    const hasExperts = blocksOf({ index: layer, residuals }).some(({ kind }) => kind === "experts");
    return hasExperts ? [{ layer, first: part.kind === "layer" ? (part.expertsFrom ?? 0) : 0 }] : [];
  });
}

/** Whether experts of some parts are stacked in each run of their graph: then nothing is to be made of weights before. */
export function stacksExperts(parts: readonly SegmentPart[], arithmetic: Arithmetic): boolean {
  return arithmetic.experts === "stacked" && expertLayersOf(parts).length > 0;
}

/** What some parts make and others read, beside hidden states. */
export type CrossingValue =
  /** What the embeddings per layer say, for one layer. [batch, tokens, size] */
  | { readonly kind: "per-layer-input"; readonly layer: number }
  /** What is read of a layer's cache, for layers that share it. [batch, tokens, kv_heads × head_dim or value_dim] */
  | { readonly kind: "cached"; readonly layer: number; readonly side: Side }
  /** What the experts of a mixture that is cut have given so far. Each part that reads it makes the next. [batch, tokens, hidden] */
  | { readonly kind: "expert-sum" };

/** Of the input that it is for a graph; values that are not the same have different names. */
export function nameOfCrossing(value: CrossingValue): string {
  switch (value.kind) {
    case "cached":
      return `cached_${value.side}_${value.layer}`;
    case "per-layer-input":
      return `per_layer_input_${value.layer}`;
    case "expert-sum":
      return "expert_sum";
  }
}

/** Its numbers per token. */
export function widthOfCrossing({ hiddenSize, layers, perLayerInputs }: Decoder, value: CrossingValue): number {
  if (value.kind === "expert-sum") return hiddenSize;
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
  return last?.kind === "layer" && last.layer.index === layers.at(-1)?.index && endsLayer(last);
}

/** What parts read that none before them makes, each once. */
export function crossingInto(parts: readonly SegmentPart[]): CrossingValue[] {
  return once(
    parts.flatMap((part, index) => readByPart(part).filter((value) => !isMadeIn(parts.slice(0, index), value))),
  );
}

/** Of what later parts read, what these make. */
export function crossingOutOf(parts: readonly SegmentPart[], later: readonly SegmentPart[]): CrossingValue[] {
  return crossingInto(later).filter((value) => isMadeIn(parts, value));
}

function isMadeIn(parts: readonly SegmentPart[], value: CrossingValue): boolean {
  switch (value.kind) {
    case "cached":
      return cacheLayersOf(parts).includes(value.layer);
    case "per-layer-input":
      return parts.some((part) => part.kind === "embedding");
    case "expert-sum":
      return parts.some((part) => part.kind === "experts");
  }
}

function readByPart(part: SegmentPart): CrossingValue[] {
  if (part.kind === "embedding") return [];
  if (part.kind === "experts") return part.experts.start > 0 ? [{ kind: "expert-sum" }] : [];
  const { index, altUp } = part.layer;
  const read =
    part.kind === "layer"
      ? { index, residuals: residualsOfPart(part), ...(altUp && { altUp }) }
      : { index, residuals: beforeCache(part.layer).before };
  const ofBlocks = blocksOf(read).flatMap((block): CrossingValue[] => {
    if (block.kind === "per-layer-input") return [{ kind: "per-layer-input", layer: block.layer }];
    if (block.kind !== "shared-attention") return [];
    return (["k", "v"] as const).map((side) => ({ kind: "cached", layer: block.cacheOf, side }));
  });
  return part.kind === "layer" && part.expertsFrom !== undefined ? [{ kind: "expert-sum" }, ...ofBlocks] : ofBlocks;
}

function once(values: readonly CrossingValue[]): CrossingValue[] {
  return [...new Map(values.map((value) => [nameOfCrossing(value), value])).values()];
}
