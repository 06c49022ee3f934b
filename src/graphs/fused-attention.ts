// The operator GroupQueryAttention: grouped heads, causal, with or without a window, with a cache that it may keep
// itself. Knows the operator's inputs by number. Knows no weights, and not when the operator is used.

import { type Attention, valueDimOf } from "../architectures/blocks.js";
import { type GraphBuilder, MICROSOFT_DOMAIN, NONE, type Value } from "../onnx/graph-builder.js";
import type { Arithmetic } from "./arithmetic.js";
import { besideBfloat16, mergeHeads, splitHeads } from "./blocks.js";
import type { Side } from "./kv-cache.js";

/** Attention without its weights. */
export type AttentionShape = Pick<
  Attention,
  "heads" | "kvHeads" | "headDim" | "valueDim" | "slidingWindow" | "chunkSize" | "scale" | "softcap"
>;

/** The factor on scores. */
export function scaleOf({ scale, headDim }: Pick<AttentionShape, "scale" | "headDim">): number {
  return scale ?? 1 / Math.sqrt(headDim);
}

export interface KeysAndValues {
  readonly key: Value; // [batch, tokens, kv_heads × head_dim]
  readonly value: Value; // [batch, tokens, kv_heads × value_dim]
}

/**
 * The cache as the operator keeps it: buffers with its tokens first. On CUDA they must have room for more tokens than
 * will ever be stored, because a full one fails there. The CPU makes longer ones where they are full.
 */
export interface CacheBuffers {
  readonly key: Value; // [batch, kv_heads, capacity, head_dim filled up]
  readonly value: Value; // [batch, kv_heads, capacity, head_dim filled up]
}

/** Already rotated, except where the operator rotates. */
export interface QueriesKeysValues extends KeysAndValues {
  readonly query: Value; // [batch, tokens, heads × head_dim]
  /** K and V of the tokens before these. */
  readonly past?: KeysAndValues;
  /** The same, where the operator keeps the cache; it also stores the new tokens there. */
  readonly buffers?: CacheBuffers;
  /** The scales of FP8 buffers: x ≈ code · scale; float32 [1]. */
  readonly scales?: Readonly<Record<Side, Value>>;
  /** The sinks: a score per head that belongs to no token; in float32 or the graph's type. [heads] */
  readonly sinks?: Value;
}

export interface Attended {
  readonly attended: Value; // [batch, tokens, heads × value_dim]
  /** The buffers with the new tokens in them, or new ones with all tokens; undefined where attention is unfused. */
  readonly present: CacheBuffers | undefined;
}

export interface TokenCounts {
  /** Tokens of each prompt − 1. */
  readonly lastPositions: Value; // int32 [batch]
  readonly totalTokens: Value; // int32 [1]
}

/** The tables of a rotation. */
export interface Rotation {
  readonly cos: Value; // [tokens, dimensions / 2]
  readonly sin: Value; // [tokens, dimensions / 2]
}

/** The graph that attention is recorded in. */
export interface AttendContext {
  readonly builder: GraphBuilder;
  readonly arithmetic: Arithmetic;
  /**
   * Names of the axes of prompts and tokens: a name stands for one size in the whole graph. Absent: batch and tokens.
   */
  readonly axes?: readonly [batch: string, tokens: string];
}

/**
 * GroupQueryAttention needs a head size that is a multiple of this, the same for K and V. Other heads are padded with
 * zeros, in its buffers, too.
 */
export const HEAD_DIM_MULTIPLE = 8;

/** The head_dim of the operator's buffers. */
export function filledHeadDim(shape: AttentionShape): number {
  return Math.ceil(Math.max(shape.headDim, valueDimOf(shape)) / HEAD_DIM_MULTIPLE) * HEAD_DIM_MULTIPLE;
}

/** Number of its input for sinks. */
const SINKS_INPUT = 11;
/** Number of its input for the scale of K; the next one is for V's. */
const K_SCALE_INPUT = 12;

interface OperatorInputs {
  readonly rotation?: Rotation;
}

/** Records the operator. @param rotation if given, the operator rotates queries and keys first */
export function fusedAttention(
  context: AttendContext,
  shape: AttentionShape,
  { lastPositions, totalTokens }: TokenCounts,
  { query, key, value, past, buffers, scales, sinks }: QueriesKeysValues,
  { rotation }: OperatorInputs = {},
): Attended & { readonly present: CacheBuffers } {
  const { builder } = context;
  const { heads, kvHeads, headDim, slidingWindow, softcap } = shape;
  const valueDim = valueDimOf(shape);
  const size = filledHeadDim(shape);
  const widen = (x: Value, count: number, width: number) =>
    size === width ? x : mergeHeads(builder, widenHeads(context, x, count, width, size));
  const headsFirst = (x: Value, width: number) => {
    const split =
      size === width ? splitHeads(builder, x, kvHeads, width) : widenHeads(context, x, kvHeads, width, size);
    return builder.op("Transpose", [split], { attributes: { perm: [0, 2, 1, 3] } }); // [batch, kv_heads, past, size]
  };
  const decoded = past === undefined ? [NONE, NONE] : [headsFirst(past.key, headDim), headsFirst(past.value, valueDim)];
  const before = buffers === undefined ? decoded : [buffers.key, buffers.value];
  const tokens = [widen(query, heads, headDim), widen(key, kvHeads, headDim), widen(value, kvHeads, valueDim)];
  const tables = rotation === undefined ? [] : [rotation.cos, rotation.sin];
  const inputs = [...tokens, ...before, lastPositions, totalTokens, ...tables];
  if (sinks !== undefined) inputs[SINKS_INPUT] = sinks;
  if (scales !== undefined) [inputs[K_SCALE_INPUT], inputs[K_SCALE_INPUT + 1]] = [scales.k, scales.v];
  for (let input = 0; input < inputs.length; input++) inputs[input] ??= NONE;
  const [attended, presentKey, presentValue] = builder.ops("GroupQueryAttention", inputs, 3, {
    domain: MICROSOFT_DOMAIN,
    attributes: {
      num_heads: heads,
      kv_num_heads: kvHeads,
      scale: { float: scaleOf(shape) },
      ...(slidingWindow !== undefined && { local_window_size: slidingWindow }),
      ...(softcap !== undefined && { softcap: { float: softcap } }),
      ...(rotation !== undefined && { do_rotary: 1 }),
      ...(scales !== undefined && {
        k_quant_type: "PER_TENSOR",
        v_quant_type: "PER_TENSOR",
        kv_cache_bit_width: 8,
      }),
    },
  }) as [Value, Value, Value];
  return {
    attended: size === valueDim ? attended : narrowHeads(builder, attended, heads, size, valueDim), // [batch, tokens, heads × value_dim]
    present: { key: presentKey, value: presentValue }, // [batch, kv_heads, tokens, head_dim]
  };
}

/** Pads each head with zeros, which change neither scores nor outputs. */
function widenHeads(context: AttendContext, x: Value, heads: number, headDim: number, size: number): Value {
  const { builder } = context;
  const pads = builder.int64s([0, 0, 0, 0, 0, 0, 0, size - headDim]);
  const split = splitHeads(builder, x, heads, headDim);
  return besideBfloat16(context, split, (wide) => builder.op("Pad", [wide, pads])); // [batch, tokens, heads, size]
}

/** Removes the zeros. */
function narrowHeads(builder: GraphBuilder, x: Value, heads: number, size: number, headDim: number): Value {
  const [start, end, axis] = [builder.int64s([0]), builder.int64s([headDim]), builder.int64s([3])];
  return mergeHeads(builder, builder.op("Slice", [splitHeads(builder, x, heads, size), start, end, axis]));
}
