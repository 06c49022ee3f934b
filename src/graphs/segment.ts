// The graph of a segment: consecutive parts of a decoder that are in memory together. Hidden states come in (or token
// ids, at the first part) and go out; the ranges of K and V of each layer come out beside them.

import type { Decoder, DecoderLayer } from "../architectures/description.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { attention, type BatchInputs, type CacheReading, type KeyValueRanges, keyValueRanges } from "./attention.js";
import { type GraphContext, gatedFeedForward, rmsNorm } from "./blocks.js";
import { type CacheLoss, type CacheRounding, type Side, throughCache } from "./kv-cache.js";
import { castToFloat32, GraphWeights, type LocateWeight } from "./weights.js";

/** `keys-values` is a layer of which only K and V are computed. */
export type SegmentPart =
  | { readonly kind: "embedding" }
  | { readonly kind: "layer"; readonly layer: DecoderLayer }
  | { readonly kind: "keys-values"; readonly layer: DecoderLayer };

/** Names of the inputs and outputs of a segment's graph. */
export const SEGMENT_VALUES = {
  tokenIds: "token_ids", // int64 [batch, tokens]
  hidden: "hidden", // [batch, tokens, hidden]
  mask: "mask", // [batch, tokens, 1]
  lastPositions: "last_positions", // int32 [batch]
  totalTokens: "total_tokens", // int32 [1]
  cos: "cos", // [tokens, head_dim / 2]
  sin: "sin", // [tokens, head_dim / 2]
  /** Which rounding the cache of each layer has. */
  roundings: "roundings", // int32 [layers of the segment]
  nextHidden: "next_hidden", // [batch, tokens, hidden]
  absmax: (side: Side, layer: number) => `absmax_${side}_${layer}`, // [batch, kv_heads]
  sumOfSquares: (side: Side, layer: number) => `sum_of_squares_${side}_${layer}`, // [batch]
  loss: (kind: keyof CacheLoss, side: Side, layer: number) => `${kind}_${side}_${layer}`, // [batch]
} as const;

/**
 * Builds the graph of consecutive parts of a decoder.
 * @param roundings what caches may keep of K and V; without it they keep everything, and nothing is said of losses
 */
export function buildSegment(
  decoder: Decoder,
  parts: readonly SegmentPart[],
  locate: LocateWeight,
  roundings?: readonly CacheRounding[],
): Graph {
  const builder = new GraphBuilder();
  const context: GraphContext = { builder, weights: new GraphWeights(builder, locate) };
  let hidden = segmentInput(context, decoder, parts[0]);
  const layers = parts.filter((part) => part.kind !== "embedding");
  if (layers.length > 0) {
    const inputs = batchInputs(builder, decoder);
    const choices = roundings && builder.input(SEGMENT_VALUES.roundings, "int32", [layers.length]);
    const cacheOf = ({ index }: DecoderLayer): CacheReading | undefined => {
      if (roundings === undefined || choices === undefined) return undefined;
      const place = builder.int64s([layers.findIndex((part) => part.layer.index === index)]);
      return readThroughCache(builder, roundings, index, builder.op("Gather", [choices, place]));
    };
    for (const part of parts) {
      if (part.kind === "embedding") continue;
      const { next, ranges } =
        part.kind === "layer"
          ? decoderLayer(context, part.layer, inputs, hidden, cacheOf(part.layer))
          : lastLayer(context, part.layer, inputs, hidden);
      outputRanges(builder, part.layer, ranges);
      hidden = next;
    }
  }
  if (parts.at(-1)?.kind !== "keys-values") {
    builder.output(hidden, SEGMENT_VALUES.nextHidden, "float32", ["batch", "tokens", decoder.hiddenSize]);
  }
  return builder.finish();
}

function segmentInput({ builder, weights }: GraphContext, decoder: Decoder, first: SegmentPart | undefined): Value {
  if (first?.kind !== "embedding") {
    return builder.input(SEGMENT_VALUES.hidden, "float32", ["batch", "tokens", decoder.hiddenSize]);
  }
  const ids = builder.input(SEGMENT_VALUES.tokenIds, "int64", ["batch", "tokens"]);
  // Rows are gathered as stored, then cast: the table, often the largest tensor, is never held in float32.
  return castToFloat32(builder, builder.op("Gather", [weights.stored(decoder.embedding), ids]));
}

function batchInputs(builder: GraphBuilder, decoder: Decoder): BatchInputs {
  const pairs = decoder.rope.headDim / 2;
  return {
    mask: builder.input(SEGMENT_VALUES.mask, "float32", ["batch", "tokens", 1]),
    lastPositions: builder.input(SEGMENT_VALUES.lastPositions, "int32", ["batch"]),
    totalTokens: builder.input(SEGMENT_VALUES.totalTokens, "int32", [1]),
    cos: builder.input(SEGMENT_VALUES.cos, "float32", ["tokens", pairs]),
    sin: builder.input(SEGMENT_VALUES.sin, "float32", ["tokens", pairs]),
  };
}

interface LayerResult {
  readonly next: Value;
  readonly ranges: KeyValueRanges;
}

function decoderLayer(
  context: GraphContext,
  layer: DecoderLayer,
  inputs: BatchInputs,
  hidden: Value,
  cache: CacheReading | undefined,
): LayerResult {
  const normed = rmsNorm(context, layer.inputNorm, hidden);
  const { output, ranges } = attention(context, layer.attention, inputs, normed, cache);
  const attended = context.builder.op("Add", [hidden, output]);
  const fed = gatedFeedForward(context, layer.feedForward, rmsNorm(context, layer.feedForwardNorm, attended));
  return { next: context.builder.op("Add", [attended, fed]), ranges };
}

/** Puts K and V through the chosen rounding and gives out what that lost. */
function readThroughCache(
  builder: GraphBuilder,
  roundings: readonly CacheRounding[],
  layer: number,
  choice: Value,
): CacheReading {
  const keep = (side: Side, x: Value) => {
    const { kept, loss } = throughCache(builder, roundings, { layer, side }, choice, x);
    for (const kind of ["noise", "saturated", "flushed"] as const) {
      builder.output(loss[kind], SEGMENT_VALUES.loss(kind, side, layer), "float32", ["batch"]);
    }
    return kept;
  };
  return ({ key, value }) => ({ key: keep("k", key), value: keep("v", value) });
}

function lastLayer(context: GraphContext, layer: DecoderLayer, inputs: BatchInputs, hidden: Value): LayerResult {
  const ranges = keyValueRanges(context, layer.attention, inputs, rmsNorm(context, layer.inputNorm, hidden));
  return { next: hidden, ranges };
}

function outputRanges(
  builder: GraphBuilder,
  { index, attention: { kvHeads } }: DecoderLayer,
  ranges: KeyValueRanges,
): void {
  for (const side of ["k", "v"] as const) {
    builder.output(ranges[side].absmax, SEGMENT_VALUES.absmax(side, index), "float32", ["batch", kvHeads]);
    builder.output(ranges[side].sumOfSquares, SEGMENT_VALUES.sumOfSquares(side, index), "float32", ["batch"]);
  }
}
