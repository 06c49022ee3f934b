// Attention as the engines compute it, with K and V measured where they enter the cache: K after norm and rotation, V as
// projected, padding set to zero. Knows no family by name.

import type { Attention, RmsNorm } from "../architectures/description.js";
import { MICROSOFT_DOMAIN, type Value } from "../onnx/graph-builder.js";
import { attend } from "./attend.js";
import { type GraphContext, linear, mergeHeads, type Range, rangeOf, rmsNorm, splitHeads } from "./blocks.js";
import {
  type CacheBuffers,
  fusedAttention,
  type KeysAndValues,
  type QueriesKeysValues,
  type TokenCounts,
} from "./fused-attention.js";

/** What a batch brings beside its hidden states. */
export interface BatchInputs extends TokenCounts {
  /** 1 for a token, 0 for padding. As the tables of the rotation, in the type that the graph computes in. */
  readonly mask: Value; // [batch, tokens, 1]
  readonly cos: Value; // [tokens, head_dim / 2]
  readonly sin: Value; // [tokens, head_dim / 2]
}

export interface KeyValueRanges {
  readonly k: Range;
  readonly v: Range;
}

/** What attention reads of the K and V that enter the cache; they themselves, when the cache keeps them exactly. */
export type CacheReading = (entering: KeysAndValues) => Omit<QueriesKeysValues, "query">;

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
  if (read === undefined && canRotate(context, description))
    return attentionThatRotates(context, description, inputs, x);
  const { output, entering } = cachedAttention(context, description, inputs, x, read ?? keepAll);
  return { output, ranges: rangesOf(context, description, entering) };
}

/**
 * Grouped-query attention over what the cache gives back, the K and V that enter it, and what the operator made of its
 * buffers, where it keeps the cache.
 * @param x [batch, tokens, hidden]
 */
export function cachedAttention(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
  read: CacheReading,
): { readonly output: Value; readonly entering: KeysAndValues; readonly present: CacheBuffers | undefined } {
  const query = rotate(context, inputs, queries(context, description, x), description.heads);
  const entering = keysAndValues(context, description, inputs, x);
  const { attended, present } = attend(context, description, inputs, { query, ...read(entering) });
  return { output: linear(context, description.output, attended), entering, present };
}

const keepAll: CacheReading = (entering) => entering;

function canRotate({ arithmetic }: GraphContext, { headDim }: Attention): boolean {
  const isFused = arithmetic.attention === "fused" && arithmetic.rotation === "fused";
  return isFused && headDim % ROTATED_HEAD_DIM_MULTIPLE === 0;
}

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
  const { attended, present } = fusedAttention(context, description, inputs, entering, { rotation: inputs });
  const mask = builder.op("Unsqueeze", [inputs.mask, builder.int64s([1])]); // [batch, 1, tokens, 1]
  return {
    output: linear(context, description.output, attended),
    ranges: {
      k: rangeOf(context, builder.op("Mul", [present.key, mask]), 2),
      v: rangeOf(context, splitHeads(builder, value, kvHeads, headDim)),
    },
  };
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
