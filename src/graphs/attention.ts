// Attention as the engines compute it, with K and V measured where they enter the cache: K after norm and rotation, V as
// projected, padding set to zero. Knows no family by name.

import type { Attention, RmsNorm } from "../architectures/description.js";
import { type GraphBuilder, MICROSOFT_DOMAIN, NONE, type Value } from "../onnx/graph-builder.js";
import { type GraphContext, linear, mergeHeads, type Range, rangeOf, rmsNorm, splitHeads } from "./blocks.js";

/** GroupQueryAttention takes heads of a multiple of this size: others are filled up with zeros. */
const HEAD_DIM_MULTIPLE = 8;

/** What a batch brings beside its hidden states. */
export interface BatchInputs {
  /** 1 for a token, 0 for padding. As the tables of the rotation, in the type that the graph computes in. */
  readonly mask: Value; // [batch, tokens, 1]
  /** Tokens of each prompt − 1. */
  readonly lastPositions: Value; // int32 [batch]
  readonly totalTokens: Value; // int32 [1]
  readonly cos: Value; // [tokens, head_dim / 2]
  readonly sin: Value; // [tokens, head_dim / 2]
}

export interface KeyValueRanges {
  readonly k: Range;
  readonly v: Range;
}

/** What attention reads of the K and V that enter the cache; they themselves, when the cache keeps them exactly. */
export type CacheReading = (entering: KeysAndValues) => KeysAndValues;

/** Grouped-query attention, and the ranges of the K and V that enter its cache. @param x [batch, tokens, hidden] */
export function attention(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
  read: CacheReading = (entering) => entering,
): { readonly output: Value; readonly ranges: KeyValueRanges } {
  const { heads, headDim, queryNorm } = description;
  const projected = normedHeads(context, linear(context, description.query, x), heads, queryNorm, headDim);
  const query = rotate(context, inputs, projected, heads);
  const { key, value } = keysAndValues(context, description, inputs, x);
  const attended = attend(context, description, inputs, { query, ...read({ key, value }) });
  return {
    output: linear(context, description.output, attended),
    ranges: rangesOf(context, description, { key, value }),
  };
}

/** The attention itself: causal, with the window where there is one. */
function attend(
  { builder }: GraphContext,
  { heads, kvHeads, headDim, slidingWindow }: Attention,
  { lastPositions, totalTokens }: BatchInputs,
  { query, key, value }: KeysAndValues & { readonly query: Value },
): Value {
  const size = Math.ceil(headDim / HEAD_DIM_MULTIPLE) * HEAD_DIM_MULTIPLE;
  const widen = (x: Value, count: number) => (size === headDim ? x : widenHeads(builder, x, count, headDim, size));
  const [attended] = builder.ops(
    "GroupQueryAttention",
    [widen(query, heads), widen(key, kvHeads), widen(value, kvHeads), NONE, NONE, lastPositions, totalTokens],
    3,
    {
      domain: MICROSOFT_DOMAIN,
      attributes: {
        num_heads: heads,
        kv_num_heads: kvHeads,
        scale: { float: 1 / Math.sqrt(headDim) },
        ...(slidingWindow !== undefined && { local_window_size: slidingWindow }),
      },
    },
  ) as [Value];
  return size === headDim ? attended : narrowHeads(builder, attended, heads, size, headDim); // [batch, tokens, heads × head_dim]
}

/** Appends zeros to each head. They change neither the products of queries and keys nor what is summed up. */
function widenHeads(builder: GraphBuilder, x: Value, heads: number, headDim: number, size: number): Value {
  const pads = builder.int64s([0, 0, 0, 0, 0, 0, 0, size - headDim]);
  return mergeHeads(builder, builder.op("Pad", [splitHeads(builder, x, heads, headDim), pads]));
}

/** Takes the zeros away again. */
function narrowHeads(builder: GraphBuilder, x: Value, heads: number, size: number, headDim: number): Value {
  const [start, end, axis] = [builder.int64s([0]), builder.int64s([headDim]), builder.int64s([3])];
  return mergeHeads(builder, builder.op("Slice", [splitHeads(builder, x, heads, size), start, end, axis]));
}

/** Only K and V of a layer, for the last one: nothing after them reaches a cache. @param x [batch, tokens, hidden] */
export function keyValueRanges(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
): KeyValueRanges {
  return rangesOf(context, description, keysAndValues(context, description, inputs, x));
}

export interface KeysAndValues {
  readonly key: Value; // [batch, tokens, kv_heads × head_dim]
  readonly value: Value; // [batch, tokens, kv_heads × head_dim]
}

/** K and V as they enter the cache, padding set to zero. */
function keysAndValues(
  context: GraphContext,
  { key, value, keyNorm, kvHeads, headDim }: Attention,
  inputs: BatchInputs,
  x: Value,
): KeysAndValues {
  const { builder } = context;
  const projected = normedHeads(context, linear(context, key, x), kvHeads, keyNorm, headDim);
  return {
    key: builder.op("Mul", [rotate(context, inputs, projected, kvHeads), inputs.mask]),
    value: builder.op("Mul", [linear(context, value, x), inputs.mask]),
  };
}

function rangesOf(
  context: GraphContext,
  { kvHeads, headDim }: Attention,
  { key, value }: KeysAndValues,
): KeyValueRanges {
  return {
    k: rangeOf(context, splitHeads(context.builder, key, kvHeads, headDim)),
    v: rangeOf(context, splitHeads(context.builder, value, kvHeads, headDim)),
  };
}

/** Rotates each head by its position, halves paired as in transformers. @param x [batch, tokens, heads × head_dim] */
function rotate({ builder }: GraphContext, { cos, sin }: BatchInputs, x: Value, heads: number): Value {
  const firstPosition = builder.int64s([0]);
  return builder.op("RotaryEmbedding", [x, firstPosition, cos, sin], {
    domain: MICROSOFT_DOMAIN,
    attributes: { num_heads: heads },
  });
}

function normedHeads(
  context: GraphContext,
  x: Value,
  heads: number,
  norm: RmsNorm | undefined,
  headDim: number,
): Value {
  if (norm === undefined) return x;
  const { builder } = context;
  return mergeHeads(builder, rmsNorm(context, norm, splitHeads(builder, x, heads, headDim)));
}
