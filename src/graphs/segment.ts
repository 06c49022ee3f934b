// The graph of a segment: consecutive parts of a decoder that are in memory together. Takes hidden states (the first
// segment: token ids); gives hidden states and the ranges of K and V of each cache.

import type { Attention } from "../architectures/blocks.js";
import { requireAttention } from "../architectures/cache-sites.js";
import { blocksOf, type Decoder } from "../architectures/description.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { activeStream, altUpLayer, closeStreams } from "./alt-up.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { COUNT_VALUES } from "./attend.js";
import {
  attention,
  type BatchInputs,
  type CacheReading,
  type KeyValueRanges,
  keyValueRanges,
  sharedAttention,
} from "./attention.js";
import type { GraphContext } from "./blocks.js";
import { CrossingValues, TOKEN_IDS } from "./crossing-values.js";
import { mixtureIn } from "./cut-mixture.js";
import {
  attentionInput,
  type BlockRecorder,
  branchInput,
  type ResidualStream,
  recordResiduals,
  sumOfStream,
} from "./decoder-layer.js";
import { type ExpertsResult, expertSum, experts } from "./experts.js";
import type { Rotation } from "./fused-attention.js";
import { HIDDEN_VALUES, hiddenOutput } from "./hidden-states.js";
import { type CacheLoss, type CacheRounding, type Side, throughCache } from "./kv-cache.js";
import {
  type CrossingValue,
  cacheLayersOf,
  endsDecoder,
  givesHidden,
  hiddenWidthBehind,
  residualsOfPart,
  type SegmentPart,
} from "./segment-parts.js";
import { cast, GraphWeights, type LocateWeight } from "./weights.js";

/** Names of the inputs and outputs of a segment's graph. */
export const SEGMENT_VALUES = {
  ...HIDDEN_VALUES,
  ...COUNT_VALUES,
  tokenIds: TOKEN_IDS, // int64 [batch, tokens]
  mask: "mask", // [batch, tokens, 1]
  /** The tables of the decoder's first rotation; names of the others end in their number. */
  cos: "cos", // [tokens, dimensions / 2]
  sin: "sin", // [tokens, dimensions / 2]
  rotation: (table: "cos" | "sin", rope: number) => (rope === 0 ? table : `${table}_${rope}`),
  /** The number of the rounding for each cache of the segment. */
  roundings: "roundings", // int32 [caches of the segment]
  absmax: (side: Side, layer: number) => `absmax_${side}_${layer}`, // [batch, kv_heads]
  sumOfSquares: (side: Side, layer: number) => `sum_of_squares_${side}_${layer}`, // [batch]
  /** How many tokens of the batch each expert of a layer has computed, of those in the segment. */
  expertTokens: (layer: number) => `expert_tokens_${layer}`, // [experts of the segment]
  loss: (kind: keyof CacheLoss, side: Side, layer: number) => `${kind}_${side}_${layer}`, // [batch]
} as const;

/**
 * Builds the graph of consecutive parts of a decoder.
 * @param options.roundings of the caches; without it they keep everything, and no losses are given
 */
export function buildSegment(
  decoder: Decoder,
  parts: readonly SegmentPart[],
  locate: LocateWeight,
  { roundings, arithmetic = FLOAT32_ARITHMETIC, gives = [] }: SegmentOptions = {},
): Graph {
  const builder = new GraphBuilder();
  const context: GraphContext = { builder, weights: new GraphWeights(builder, locate), arithmetic };
  const values = new CrossingValues(context, decoder, parts);
  let stream: ResidualStream = { hidden: values.hidden };
  if (parts.some(({ kind }) => kind !== "embedding")) {
    const inputs = batchInputs(context, decoder);
    const caches = cacheLayersOf(parts);
    const isRounded = roundings !== undefined && caches.length > 0;
    const choices = isRounded ? builder.input(SEGMENT_VALUES.roundings, "int32", [caches.length]) : undefined;
    const cacheOf = (layer: number): CacheReading | undefined => {
      if (roundings === undefined || choices === undefined) return undefined;
      const place = builder.int64s([caches.indexOf(layer)]);
      return readThroughCache(context, roundings, layer, builder.op("Gather", [choices, place]));
    };
    const shared = sharedCaches(parts, gives);
    const countTokens = (layer: number, { output, tokens }: ExpertsResult, experts: number): Value => {
      const counts = cast(builder, tokens, "int64", "float32");
      builder.output(counts, SEGMENT_VALUES.expertTokens(layer), "float32", [experts]);
      return output;
    };
    const recorderOf = (layer: number, start = 0): BlockRecorder => ({
      attention: (block, x) => {
        const isShared = shared.has(layer);
        const { output, ranges, cached } = attention(context, block, inputs, x, cacheOf(layer), isShared);
        if (cached !== undefined) values.setCached(layer, cached);
        outputRanges(builder, layer, block, ranges);
        return output;
      },
      sharedAttention: (block, x) => sharedAttention(context, block, inputs, x, values.cached(block.cacheOf)),
      experts: (block, x) => {
        const before = start === 0 ? {} : { before: values.expertSum() };
        const result = experts(context, block, x, { mask: inputs.mask, start, ...before });
        return countTokens(layer, result, block.experts.length - start);
      },
      perLayerInput: (of) => values.perLayerInput(of),
    });
    for (const part of parts) {
      if (part.kind === "embedding") continue;
      const { layer } = part;
      if (part.kind === "layer") {
        stream = recordLayer(context, decoder, part, stream, recorderOf(layer.index, part.expertsFrom));
      } else if (part.kind === "experts") {
        const { start, end } = part.experts;
        const branch = mixtureIn(layer, part.residual);
        const before = start === 0 ? {} : { before: values.expertSum() };
        const x = branchInput(context, branch, stream);
        const result = expertSum(context, branch.block, x, part.experts, { mask: inputs.mask, ...before });
        values.setExpertSum(countTokens(layer.index, result, end - start));
      } else {
        const own = layer.altUp === undefined ? stream : activeStream(context, decoder, layer.altUp, stream);
        const x = attentionInput(context, layer, own, recorderOf(layer.index));
        const last = requireAttention(layer);
        outputRanges(builder, layer.index, last, keyValueRanges(context, last, inputs, x));
      }
    }
  }
  values.give(gives);
  if (givesHidden(parts)) {
    const { streams } = decoder;
    const hidden = sumOfStream(context, stream);
    const isClosed = streams !== undefined && endsDecoder(decoder, parts);
    const last = isClosed ? closeStreams(context, streams, hidden, decoder.hiddenSize) : hidden;
    hiddenOutput(builder, arithmetic, last, hiddenWidthBehind(decoder, parts));
  }
  return builder.finish();
}

/** Layers whose caches other layers read, in these parts or later. */
function sharedCaches(parts: readonly SegmentPart[], gives: readonly CrossingValue[]): ReadonlySet<number> {
  const readers = parts.flatMap((part) => (part.kind === "embedding" ? [] : blocksOf(part.layer)));
  const within = readers.flatMap((block) => (block.kind === "shared-attention" ? [block.cacheOf] : []));
  return new Set([...within, ...gives.flatMap((value) => (value.kind === "cached" ? [value.layer] : []))]);
}

function recordLayer(
  context: GraphContext,
  decoder: Decoder,
  part: Extract<SegmentPart, { kind: "layer" }>,
  stream: ResidualStream,
  recorder: BlockRecorder,
): ResidualStream {
  const { altUp } = part.layer;
  if (altUp !== undefined) return altUpLayer(context, decoder, { ...part.layer, altUp }, stream, recorder);
  return recordResiduals(context, residualsOfPart(part), stream, recorder);
}

export interface SegmentOptions {
  readonly roundings?: readonly CacheRounding[] | undefined;
  readonly arithmetic?: Arithmetic | undefined;
  /** The values for later segments, beside hidden states. */
  readonly gives?: readonly CrossingValue[] | undefined;
}

function batchInputs({ builder, arithmetic }: GraphContext, decoder: Decoder): BatchInputs {
  const floats = (name: string, shape: readonly (number | string)[]) =>
    cast(builder, builder.input(name, "float32", shape), "float32", arithmetic.elementType);
  return {
    mask: floats(SEGMENT_VALUES.mask, ["batch", "tokens", 1]),
    lastPositions: builder.input(SEGMENT_VALUES.lastPositions, "int32", ["batch"]),
    totalTokens: builder.input(SEGMENT_VALUES.totalTokens, "int32", [1]),
    rotations: rotationInputs(decoder, floats, "tokens"),
  };
}

/** Declares the tables of every rotation. @param rows number of positions in the tables */
export function rotationInputs(
  { ropes }: Decoder,
  floats: (name: string, shape: readonly (number | string)[]) => Value,
  rows: string,
): Rotation[] {
  return ropes.map(({ dimensions }, rope) => {
    const table = (name: "cos" | "sin") => floats(SEGMENT_VALUES.rotation(name, rope), [rows, dimensions / 2]);
    return { cos: table("cos"), sin: table("sin") };
  });
}

/** Rounds K and V as chosen and makes the losses outputs. */
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

function outputRanges(
  builder: GraphBuilder,
  layer: number,
  { kvHeads }: Pick<Attention, "kvHeads">,
  ranges: KeyValueRanges,
): void {
  for (const side of ["k", "v"] as const) {
    builder.output(ranges[side].absmax, SEGMENT_VALUES.absmax(side, layer), "float32", ["batch", kvHeads]);
    builder.output(ranges[side].sumOfSquares, SEGMENT_VALUES.sumOfSquares(side, layer), "float32", ["batch"]);
  }
}
