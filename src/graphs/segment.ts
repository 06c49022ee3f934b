// The graph of a segment: consecutive parts of a decoder that are in memory together. Hidden states come in (or token
// ids, at the first part) and go out; the ranges of K and V of each cache come out beside them.

import type { Attention } from "../architectures/blocks.js";
import { attentionOf, requireAttention } from "../architectures/cache-sites.js";
import type { Decoder, DecoderLayer, LearnedPositions, Residual } from "../architectures/description.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { COUNT_VALUES } from "./attend.js";
import { attention, type BatchInputs, type CacheReading, type KeyValueRanges, keyValueRanges } from "./attention.js";
import { type GraphContext, sizeOf } from "./blocks.js";
import {
  attentionInput,
  type BlockRecorder,
  multiplied,
  type ResidualStream,
  recordResiduals,
  residualsBeforeCache,
  sumOfStream,
} from "./decoder-layer.js";
import { experts } from "./experts.js";
import type { Rotation } from "./fused-attention.js";
import { HIDDEN_VALUES, hiddenInput, hiddenOutput } from "./hidden-states.js";
import { type CacheLoss, type CacheRounding, type Side, throughCache } from "./kv-cache.js";
import { norm } from "./norm.js";
import { cast, GraphWeights, type LocateWeight } from "./weights.js";

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
    const residuals = part.kind === "layer" ? residualsOfPart(part) : residualsBeforeCache(part.layer);
    const blocks = residuals.flatMap(({ branches }) => branches.map(({ block }) => block));
    return blocks.some(({ kind }) => kind === "experts") ? [part.layer.index] : [];
  });
}

/** Names of the inputs and outputs of a segment's graph. */
export const SEGMENT_VALUES = {
  ...HIDDEN_VALUES,
  ...COUNT_VALUES,
  tokenIds: "token_ids", // int64 [batch, tokens]
  mask: "mask", // [batch, tokens, 1]
  /** The tables of the decoder's first rotation; those of others carry their number. */
  cos: "cos", // [tokens, dimensions / 2]
  sin: "sin", // [tokens, dimensions / 2]
  rotation: (table: "cos" | "sin", rope: number) => (rope === 0 ? table : `${table}_${rope}`),
  /** Which rounding each cache of the segment has. */
  roundings: "roundings", // int32 [caches of the segment]
  absmax: (side: Side, layer: number) => `absmax_${side}_${layer}`, // [batch, kv_heads]
  sumOfSquares: (side: Side, layer: number) => `sum_of_squares_${side}_${layer}`, // [batch]
  /** How many tokens of the batch each expert of a layer has computed. */
  expertTokens: (layer: number) => `expert_tokens_${layer}`, // [experts]
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
  if (parts.some(({ kind }) => kind !== "embedding")) {
    const inputs = batchInputs(context, decoder);
    const caches = cacheLayersOf(parts);
    const choices = roundings && builder.input(SEGMENT_VALUES.roundings, "int32", [caches.length]);
    const cacheOf = (layer: number): CacheReading | undefined => {
      if (roundings === undefined || choices === undefined) return undefined;
      const place = builder.int64s([caches.indexOf(layer)]);
      return readThroughCache(context, roundings, layer, builder.op("Gather", [choices, place]));
    };
    const recorderOf = (layer: number): BlockRecorder => ({
      attention: (block, x) => {
        const { output, ranges } = attention(context, block, inputs, x, cacheOf(layer));
        outputRanges(builder, layer, block, ranges);
        return output;
      },
      experts: (block, x) => {
        const { output, tokens } = experts(context, block, x, inputs.mask);
        const counts = cast(builder, tokens, "int64", "float32");
        builder.output(counts, SEGMENT_VALUES.expertTokens(layer), "float32", [block.experts.length]);
        return output;
      },
    });
    for (const part of parts) {
      if (part.kind === "embedding") continue;
      const { layer } = part;
      if (part.kind === "layer") {
        stream = recordResiduals(context, residualsOfPart(part), stream, recorderOf(layer.index));
      } else {
        const x = attentionInput(context, layer, stream, recorderOf(layer.index));
        const last = requireAttention(layer);
        outputRanges(builder, layer.index, last, keyValueRanges(context, last, inputs, x));
      }
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
export function embed(context: GraphContext, { embedding }: Decoder, ids: Value): Value {
  const { builder, weights, arithmetic } = context;
  // Rows are gathered as stored, then cast: the table, often the largest tensor, is never held in another type.
  const rows = builder.op("Gather", [weights.stored(embedding.weight), ids]);
  const computed = cast(builder, rows, weights.storedType(embedding.weight), arithmetic.elementType);
  const scaled = multiplied(context, computed, embedding.multiplier);
  const { positions } = embedding;
  const placed = positions === undefined ? scaled : builder.op("Add", [scaled, positionsOf(context, positions, ids)]);
  return embedding.norm === undefined ? placed : norm(context, embedding.norm, placed);
}

/** Of as many tokens as the longest prompt has, from the first on: a step behind others has no place for them. */
function positionsOf(
  { builder, weights, arithmetic }: GraphContext,
  { weight, offset }: LearnedPositions,
  ids: Value,
): Value {
  const start = builder.int64s([offset]);
  const end = builder.op("Add", [sizeOf(builder, ids, 1), start]);
  const rows = builder.op("Slice", [weights.stored(weight), start, end, builder.int64s([0])]); // [tokens, hidden]
  return cast(builder, rows, weights.storedType(weight), arithmetic.elementType);
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

/** Declares the tables of every rotation. @param rows positions that the tables have */
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
