// The graph of a segment: consecutive parts of a decoder that are in memory together. Hidden states come in (or token
// ids, at the first part) and go out; the ranges of K and V of each layer come out beside them.

import type { Decoder, DecoderLayer } from "../architectures/description.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { COUNT_VALUES } from "./attend.js";
import { attention, type BatchInputs, type CacheReading, type KeyValueRanges, keyValueRanges } from "./attention.js";
import type { GraphContext } from "./blocks.js";
import { decoderLayer, normOfStream, type ResidualStream, sumOfStream } from "./decoder-layer.js";
import { HIDDEN_VALUES, hiddenInput, hiddenOutput } from "./hidden-states.js";
import { type CacheLoss, type CacheRounding, type Side, throughCache } from "./kv-cache.js";
import { cast, GraphWeights, type LocateWeight } from "./weights.js";

/** `keys-values` is a layer of which only K and V are computed. */
export type SegmentPart =
  | { readonly kind: "embedding" }
  | { readonly kind: "layer"; readonly layer: DecoderLayer }
  | { readonly kind: "keys-values"; readonly layer: DecoderLayer };

/** Names of the inputs and outputs of a segment's graph. */
export const SEGMENT_VALUES = {
  ...HIDDEN_VALUES,
  ...COUNT_VALUES,
  tokenIds: "token_ids", // int64 [batch, tokens]
  mask: "mask", // [batch, tokens, 1]
  cos: "cos", // [tokens, head_dim / 2]
  sin: "sin", // [tokens, head_dim / 2]
  /** Which rounding the cache of each layer has. */
  roundings: "roundings", // int32 [layers of the segment]
  absmax: (side: Side, layer: number) => `absmax_${side}_${layer}`, // [batch, kv_heads]
  sumOfSquares: (side: Side, layer: number) => `sum_of_squares_${side}_${layer}`, // [batch]
  loss: (kind: keyof CacheLoss, side: Side, layer: number) => `${kind}_${side}_${layer}`, // [batch]
} as const;

/**
 * Builds the graph of consecutive parts of a decoder.
 * @param options.roundings what caches may keep of K and V; without it they keep everything, and nothing is said of
 * losses
 */
export function buildSegment(
  decoder: Decoder,
  parts: readonly SegmentPart[],
  locate: LocateWeight,
  { roundings, arithmetic = FLOAT32_ARITHMETIC }: SegmentOptions = {},
): Graph {
  const builder = new GraphBuilder();
  const context: GraphContext = { builder, weights: new GraphWeights(builder, locate), arithmetic };
  let stream: ResidualStream = { hidden: segmentInput(context, decoder, parts[0]) };
  const layers = parts.filter((part) => part.kind !== "embedding");
  if (layers.length > 0) {
    const inputs = batchInputs(context, decoder);
    const choices = roundings && builder.input(SEGMENT_VALUES.roundings, "int32", [layers.length]);
    const cacheOf = ({ index }: DecoderLayer): CacheReading | undefined => {
      if (roundings === undefined || choices === undefined) return undefined;
      const place = builder.int64s([layers.findIndex((part) => part.layer.index === index)]);
      return readThroughCache(context, roundings, index, builder.op("Gather", [choices, place]));
    };
    for (const part of parts) {
      if (part.kind === "embedding") continue;
      const { next, ranges } =
        part.kind === "layer"
          ? measuredLayer(context, part.layer, inputs, stream, cacheOf(part.layer))
          : lastLayer(context, part.layer, inputs, stream);
      outputRanges(builder, part.layer, ranges);
      stream = next;
    }
  }
  if (parts.at(-1)?.kind !== "keys-values") {
    hiddenOutput(builder, arithmetic, sumOfStream(context, stream), decoder.hiddenSize);
  }
  return builder.finish();
}

export interface SegmentOptions {
  readonly roundings?: readonly CacheRounding[] | undefined;
  readonly arithmetic?: Arithmetic | undefined;
}

/** Token ids through the embedding, or the hidden states of the segment before. */
export function segmentInput(context: GraphContext, decoder: Decoder, first: SegmentPart | undefined): Value {
  const { builder, arithmetic } = context;
  if (first?.kind !== "embedding") return hiddenInput(builder, arithmetic, decoder.hiddenSize);
  return embed(context, decoder, builder.input(SEGMENT_VALUES.tokenIds, "int64", ["batch", "tokens"]));
}

/** Hidden states of tokens. @param ids int64 [batch, tokens] */
export function embed({ builder, weights, arithmetic }: GraphContext, decoder: Decoder, ids: Value): Value {
  // Rows are gathered as stored, then cast: the table, often the largest tensor, is never held in another type.
  const rows = builder.op("Gather", [weights.stored(decoder.embedding), ids]);
  return cast(builder, rows, weights.storedType(decoder.embedding), arithmetic.elementType);
}

function batchInputs({ builder, arithmetic }: GraphContext, decoder: Decoder): BatchInputs {
  const pairs = decoder.rope.headDim / 2;
  const floats = (name: string, shape: readonly (number | string)[]) =>
    cast(builder, builder.input(name, "float32", shape), "float32", arithmetic.elementType);
  return {
    mask: floats(SEGMENT_VALUES.mask, ["batch", "tokens", 1]),
    lastPositions: builder.input(SEGMENT_VALUES.lastPositions, "int32", ["batch"]),
    totalTokens: builder.input(SEGMENT_VALUES.totalTokens, "int32", [1]),
    cos: floats(SEGMENT_VALUES.cos, ["tokens", pairs]),
    sin: floats(SEGMENT_VALUES.sin, ["tokens", pairs]),
  };
}

interface LayerResult {
  readonly next: ResidualStream;
  readonly ranges: KeyValueRanges;
}

function measuredLayer(
  context: GraphContext,
  layer: DecoderLayer,
  inputs: BatchInputs,
  stream: ResidualStream,
  cache: CacheReading | undefined,
): LayerResult {
  const { next, attended } = decoderLayer(context, layer, stream, (normed) =>
    attention(context, layer.attention, inputs, normed, cache),
  );
  return { next, ranges: attended.ranges };
}

/** Puts K and V through the chosen rounding and gives out what that lost. */
function readThroughCache(
  { builder, arithmetic: { elementType } }: GraphContext,
  roundings: readonly CacheRounding[],
  layer: number,
  choice: Value,
): CacheReading {
  const keep = (side: Side, x: Value) => {
    const entering = cast(builder, x, elementType, "float32");
    const { kept, loss } = throughCache(builder, roundings, { layer, side }, choice, entering);
    for (const kind of ["noise", "saturated", "flushed"] as const) {
      builder.output(loss[kind], SEGMENT_VALUES.loss(kind, side, layer), "float32", ["batch"]);
    }
    return cast(builder, kept, "float32", elementType);
  };
  return ({ key, value }) => ({ key: keep("k", key), value: keep("v", value) });
}

function lastLayer(
  context: GraphContext,
  layer: DecoderLayer,
  inputs: BatchInputs,
  stream: ResidualStream,
): LayerResult {
  const { normed } = normOfStream(context, layer.inputNorm, stream);
  return { next: stream, ranges: keyValueRanges(context, layer.attention, inputs, normed) };
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
