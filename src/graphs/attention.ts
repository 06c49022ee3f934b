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
export type CacheReading = (entering: KeysAndValues) => CachedKeysAndValues;

export interface CachedKeysAndValues extends KeysAndValues {
  /** What the cache holds of the tokens before these. */
  readonly past?: KeysAndValues;
}

/** The fused rotation takes heads of a multiple of this size. */
const ROTATED_HEAD_DIM_MULTIPLE = 16;

/**
 * Grouped-query attention, and the ranges of the K and V that enter its cache.
 * @param x [batch, tokens, hidden]
 * @param read what is read of the cache; without it, all that entered
 */
export function attention(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
  read?: CacheReading,
): { readonly output: Value; readonly ranges: KeyValueRanges } {
  const isFused = context.arithmetic.rotation === "fused" && description.headDim % ROTATED_HEAD_DIM_MULTIPLE === 0;
  if (read === undefined && isFused) return attentionThatRotates(context, description, inputs, x);
  const { output, entering } = cachedAttention(context, description, inputs, x, read ?? keepAll);
  return { output, ranges: rangesOf(context, description, entering) };
}

/** Grouped-query attention over what the cache gives back, and the K and V that enter it. @param x [batch, tokens, hidden] */
export function cachedAttention(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
  read: CacheReading,
): { readonly output: Value; readonly entering: KeysAndValues } {
  const query = rotate(context, inputs, queries(context, description, x), description.heads);
  const entering = keysAndValues(context, description, inputs, x);
  const { attended } = attend(context, description, inputs, { query, ...read(entering) });
  return { output: linear(context, description.output, attended), entering };
}

const keepAll: CacheReading = (entering) => entering;

/** The same where the operator rotates: K is measured as it comes out of it. */
function attentionThatRotates(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
): { readonly output: Value; readonly ranges: KeyValueRanges } {
  const { builder } = context;
  const { kvHeads, headDim } = description;
  const value = maskedValues(context, description, inputs, x);
  const entering = { query: queries(context, description, x), key: keys(context, description, x), value };
  const { attended, presentKey } = attend(context, description, inputs, entering, true);
  const mask = builder.op("Unsqueeze", [inputs.mask, builder.int64s([1])]); // [batch, 1, tokens, 1]
  return {
    output: linear(context, description.output, attended),
    ranges: {
      k: rangeOf(context, builder.op("Mul", [presentKey, mask]), 2),
      v: rangeOf(context, splitHeads(builder, value, kvHeads, headDim)),
    },
  };
}

/** The attention itself: causal, with the window where there is one. */
function attend(
  { builder }: GraphContext,
  { heads, kvHeads, headDim, slidingWindow }: Attention,
  { lastPositions, totalTokens, cos, sin }: BatchInputs,
  { query, key, value, past }: CachedKeysAndValues & { readonly query: Value },
  rotates = false,
): { readonly attended: Value; readonly presentKey: Value } {
  const size = Math.ceil(headDim / HEAD_DIM_MULTIPLE) * HEAD_DIM_MULTIPLE;
  const widen = (x: Value) => (size === headDim ? x : widenHeads(builder, x, size - headDim));
  const widened = (x: Value, count: number) =>
    size === headDim ? x : mergeHeads(builder, widen(splitHeads(builder, x, count, headDim)));
  const headsFirst = (x: Value) =>
    builder.op("Transpose", [widen(splitHeads(builder, x, kvHeads, headDim))], { attributes: { perm: [0, 2, 1, 3] } });
  const tokens = [widened(query, heads), widened(key, kvHeads), widened(value, kvHeads)];
  const before = past === undefined ? [NONE, NONE] : [headsFirst(past.key), headsFirst(past.value)]; // [batch, kv_heads, past, size]
  const [attended, presentKey] = builder.ops(
    "GroupQueryAttention",
    [...tokens, ...before, lastPositions, totalTokens, ...(rotates ? [cos, sin] : [])],
    3,
    {
      domain: MICROSOFT_DOMAIN,
      attributes: {
        num_heads: heads,
        kv_num_heads: kvHeads,
        scale: { float: 1 / Math.sqrt(headDim) },
        ...(slidingWindow !== undefined && { local_window_size: slidingWindow }),
        ...(rotates && { do_rotary: 1 }),
      },
    },
  ) as [Value, Value, Value];
  return {
    attended: size === headDim ? attended : narrowHeads(builder, attended, heads, size, headDim), // [batch, tokens, heads × head_dim]
    presentKey, // [batch, kv_heads, tokens, head_dim]
  };
}

/** Appends zeros to each head. They change neither the products of queries and keys nor what is summed up. */
function widenHeads(builder: GraphBuilder, x: Value, zeros: number): Value {
  return builder.op("Pad", [x, builder.int64s([0, 0, 0, 0, 0, 0, 0, zeros])]); // [batch, tokens, heads, head_dim + zeros]
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
function keysAndValues(context: GraphContext, description: Attention, inputs: BatchInputs, x: Value): KeysAndValues {
  const rotated = rotate(context, inputs, keys(context, description, x), description.kvHeads);
  return {
    key: context.builder.op("Mul", [rotated, inputs.mask]),
    value: maskedValues(context, description, inputs, x),
  };
}

/** Before rotation. [batch, tokens, heads × head_dim] */
function queries(context: GraphContext, { query, queryNorm, heads, headDim }: Attention, x: Value): Value {
  return normedHeads(context, linear(context, query, x), heads, queryNorm, headDim);
}

/** Before rotation. [batch, tokens, kv_heads × head_dim] */
function keys(context: GraphContext, { key, keyNorm, kvHeads, headDim }: Attention, x: Value): Value {
  return normedHeads(context, linear(context, key, x), kvHeads, keyNorm, headDim);
}

/** Padding set to zero. [batch, tokens, kv_heads × head_dim] */
function maskedValues(context: GraphContext, { value }: Attention, { mask }: BatchInputs, x: Value): Value {
  return context.builder.op("Mul", [linear(context, value, x), mask]);
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
