// Attention as the engines compute it, with K and V measured where they enter the cache: K after norm and rotation, V as
// projected, padding set to zero. Knows no family by name.

import type { Attention, RmsNorm } from "../architectures/description.js";
import { MICROSOFT_DOMAIN, NONE, type Value } from "../onnx/graph-builder.js";
import { type GraphContext, linear, mergeHeads, type Range, rangeOf, rmsNorm, splitHeads } from "./blocks.js";

/** What a batch brings beside its hidden states. */
export interface BatchInputs {
  /** 1 for a token, 0 for padding. */
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

/** Grouped-query attention, and the ranges of its K and V. @param x [batch, tokens, hidden] */
export function attention(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
): { readonly output: Value; readonly ranges: KeyValueRanges } {
  const { builder } = context;
  const { heads, kvHeads, headDim, queryNorm, slidingWindow } = description;
  const projected = normedHeads(context, linear(context, description.query, x), heads, queryNorm, headDim);
  const query = rotate(context, inputs, projected, heads);
  const { key, value } = keysAndValues(context, description, inputs, x);
  const [attended] = builder.ops(
    "GroupQueryAttention",
    [query, key, value, NONE, NONE, inputs.lastPositions, inputs.totalTokens],
    3,
    {
      domain: MICROSOFT_DOMAIN,
      attributes: {
        num_heads: heads,
        kv_num_heads: kvHeads,
        ...(slidingWindow !== undefined && { local_window_size: slidingWindow }),
      },
    },
  ) as [Value]; // [batch, tokens, heads × head_dim]
  return {
    output: linear(context, description.output, attended),
    ranges: rangesOf(context, description, { key, value }),
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

interface KeysAndValues {
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
  { builder }: GraphContext,
  { kvHeads, headDim }: Attention,
  { key, value }: KeysAndValues,
): KeyValueRanges {
  return {
    k: rangeOf(builder, splitHeads(builder, key, kvHeads, headDim)),
    v: rangeOf(builder, splitHeads(builder, value, kvHeads, headDim)),
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
