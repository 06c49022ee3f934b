// GroupQueryAttention as an operator of the graph: heads in groups, causal, a window where there is one, a cache that it may
// keep itself. Knows its inputs by their numbers; no weights, and not when it is to be used.

import { type Attention, valueDimOf } from "../architectures/blocks.js";
import { type GraphBuilder, MICROSOFT_DOMAIN, NONE, type Value } from "../onnx/graph-builder.js";
import type { Arithmetic } from "./arithmetic.js";
import { mergeHeads, splitHeads } from "./blocks.js";
import type { Side } from "./kv-cache.js";

/** What attention is, without its weights. */
export type AttentionShape = Pick<
  Attention,
  "heads" | "kvHeads" | "headDim" | "valueDim" | "slidingWindow" | "chunkSize" | "scale" | "softcap"
>;

/** What scores are multiplied with. */
export function scaleOf({ scale, headDim }: Pick<AttentionShape, "scale" | "headDim">): number {
  return scale ?? 1 / Math.sqrt(headDim);
}

export interface KeysAndValues {
  readonly key: Value; // [batch, tokens, kv_heads × head_dim]
  readonly value: Value; // [batch, tokens, kv_heads × value_dim]
}

/**
 * The cache as the operator itself keeps it, the tokens that it holds first. On CUDA it has room for more than it will ever
 * hold: a full one fails there. The CPU makes a longer one where it has not.
 */
export interface CacheBuffers {
  readonly key: Value; // [batch, kv_heads, capacity, head_dim filled up]
  readonly value: Value; // [batch, kv_heads, capacity, head_dim filled up]
}

/** Rotated already, but where the operator rotates. */
export interface QueriesKeysValues extends KeysAndValues {
  readonly query: Value; // [batch, tokens, heads × head_dim]
  /** What the cache holds of the tokens before these. */
  readonly past?: KeysAndValues;
  /** The same, where the operator keeps the cache: it stores the new tokens there, too. */
  readonly buffers?: CacheBuffers;
  /** What a number in the buffers is multiplied with, where they are FP8; float32 [1]. */
  readonly scales?: Readonly<Record<Side, Value>>;
  /** A score of each head that stands for no token; float32 or what is computed in [heads]. */
  readonly sinks?: Value;
}

export interface Attended {
  readonly attended: Value; // [batch, tokens, heads × value_dim]
  /** The buffers with the new tokens in them, or new ones with all tokens; undefined where attention is written out. */
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

/** What a recorded attention needs of its graph. */
export interface AttendContext {
  readonly builder: GraphBuilder;
  readonly arithmetic: Arithmetic;
  /** What the axes of prompts and tokens are called: one name is one size in all of a graph. Absent: batch and tokens. */
  readonly axes?: readonly [batch: string, tokens: string];
}

/**
 * GroupQueryAttention takes heads of a multiple of this size, K and V alike: others are filled up with zeros, and lie so in
 * buffers.
 */
export const HEAD_DIM_MULTIPLE = 8;

/** The head_dim of the operator's buffers. */
export function filledHeadDim(shape: AttentionShape): number {
  return Math.ceil(Math.max(shape.headDim, valueDimOf(shape)) / HEAD_DIM_MULTIPLE) * HEAD_DIM_MULTIPLE;
}

/** Number of its input for a score of each head that stands for no token. */
const SINKS_INPUT = 11;
/** Number of its input for the scale of K; that for V's follows. */
const K_SCALE_INPUT = 12;

interface OperatorInputs {
  readonly rotation?: Rotation;
}

/** The operator. @param rotation given, the operator rotates queries and keys before it attends */
export function fusedAttention(
  { builder }: AttendContext,
  shape: AttentionShape,
  { lastPositions, totalTokens }: TokenCounts,
  { query, key, value, past, buffers, scales, sinks }: QueriesKeysValues,
  { rotation }: OperatorInputs = {},
): Attended & { readonly present: CacheBuffers } {
  const { heads, kvHeads, headDim, slidingWindow, softcap } = shape;
  const valueDim = valueDimOf(shape);
  const size = filledHeadDim(shape);
  const widen = (x: Value, count: number, width: number) =>
    size === width ? x : mergeHeads(builder, widenHeads(builder, x, count, width, size));
  const headsFirst = (x: Value, width: number) => {
    const split =
      size === width ? splitHeads(builder, x, kvHeads, width) : widenHeads(builder, x, kvHeads, width, size);
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

/** Appends zeros to each head. They change neither the products of queries and keys nor what is summed up. */
function widenHeads(builder: GraphBuilder, x: Value, heads: number, headDim: number, size: number): Value {
  const pads = builder.int64s([0, 0, 0, 0, 0, 0, 0, size - headDim]);
  return builder.op("Pad", [splitHeads(builder, x, heads, headDim), pads]); // [batch, tokens, heads, size]
}

/** Takes the zeros away again. */
function narrowHeads(builder: GraphBuilder, x: Value, heads: number, size: number, headDim: number): Value {
  const [start, end, axis] = [builder.int64s([0]), builder.int64s([headDim]), builder.int64s([3])];
  return mergeHeads(builder, builder.op("Slice", [splitHeads(builder, x, heads, size), start, end, axis]));
}
