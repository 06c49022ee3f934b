// Attention itself, over queries, keys and values as they are read of the cache: causal, heads in groups, a window where
// there is one. By the fused operator, or written out where that is not to be trusted. Knows no weights.

import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { attentionInChunks } from "./attend-in-chunks.js";
import { mergeHeads, splitHeads } from "./blocks.js";
import {
  type AttendContext,
  type Attended,
  type AttentionShape,
  fusedAttention,
  type QueriesKeysValues,
  type TokenCounts,
} from "./fused-attention.js";
import { cast } from "./weights.js";

/** Attention in the form that the arithmetic says; padding has any values. */
export function attend(
  context: AttendContext,
  shape: AttentionShape,
  counts: TokenCounts,
  entering: QueriesKeysValues,
): Attended {
  // The other forms are for whole prompts: they have no place for a past.
  const hasPast = entering.past !== undefined || entering.buffers !== undefined;
  const form = hasPast ? "fused" : context.arithmetic.attention;
  if (form === "fused") return fusedAttention(context, shape, counts, entering);
  const record = form === "in-chunks" ? attentionInChunks : writtenOutAttention;
  return { attended: record(context, shape, counts, entering), present: undefined };
}

/**
 * Scores of this many heads are in memory at a time: those of a prompt of 2048 tokens then take 128 MiB, the largest
 * binding that every WebGPU device has.
 */
const HEADS_AT_A_TIME = 8;

/**
 * softmax(q · kᵀ / √head_dim + mask) · v, in float32 whatever the arithmetic: the products of 16 bits would overflow where
 * keys are large. The queries of a group are one matrix, so that keys and values need not be repeated.
 */
function writtenOutAttention(
  { builder, arithmetic: { elementType } }: AttendContext,
  { heads, kvHeads, headDim, slidingWindow }: AttentionShape,
  { totalTokens }: TokenCounts,
  { query, key, value }: QueriesKeysValues,
): Value {
  const arrange = (x: Value, count: number, perm: readonly number[]) => {
    const wide = cast(builder, x, elementType, "float32");
    return builder.op("Transpose", [splitHeads(builder, wide, count, headDim)], { attributes: { perm: [...perm] } });
  };
  const mask = distanceMask(builder, totalTokens, slidingWindow);
  const group = heads / kvHeads;
  const counts = kvHeadsAtATime(kvHeads, group);
  const scale = builder.float32(1 / Math.sqrt(headDim));
  const scaled = builder.op("Mul", [arrange(query, heads, [0, 2, 1, 3]), scale]);
  const queries = split(
    builder,
    scaled, // [batch, heads, tokens, head_dim]
    counts.map((count) => count * group),
  );
  const keys = split(builder, arrange(key, kvHeads, [0, 2, 3, 1]), counts); // [batch, kv_heads, head_dim, tokens]
  const values = split(builder, arrange(value, kvHeads, [0, 2, 1, 3]), counts); // [batch, kv_heads, tokens, head_dim]
  const attended = counts.map((count, part) => {
    const reshape = (x: Value, sizes: readonly number[]) => builder.op("Reshape", [x, builder.int64s(sizes)]);
    const [q, k, v] = [queries[part], keys[part], values[part]] as [Value, Value, Value];
    const scores = builder.op("MatMul", [reshape(q, [0, count, -1, headDim]), k]); // [batch, kv_heads, group × tokens, tokens]
    const masked = builder.op("Add", [reshape(scores, [0, count * group, -1, 0]), mask]); // [batch, heads, tokens, tokens]
    const shares = builder.op("Softmax", [masked], { attributes: { axis: -1 } });
    const sums = builder.op("MatMul", [reshape(shares, [0, count, -1, 0]), v]); // [batch, kv_heads, group × tokens, head_dim]
    return reshape(sums, [0, count * group, -1, headDim]);
  });
  const joined = attended.length === 1 ? attended[0] : builder.op("Concat", attended, { attributes: { axis: 1 } });
  const turned = builder.op("Transpose", [joined as Value], { attributes: { perm: [0, 2, 1, 3] } });
  return cast(builder, mergeHeads(builder, turned), "float32", elementType); // [batch, tokens, heads × head_dim]
}

/** How many KV heads each part has. */
function kvHeadsAtATime(kvHeads: number, group: number): number[] {
  const most = Math.max(1, Math.floor(HEADS_AT_A_TIME / group));
  const parts = Math.ceil(kvHeads / most);
  return Array.from({ length: parts }, (_, part) => Math.min(most, kvHeads - part * most));
}

/** Cuts heads, the second axis, into parts. */
function split(builder: GraphBuilder, x: Value, counts: readonly number[]): Value[] {
  if (counts.length === 1) return [x];
  return builder.ops("Split", [x, builder.int64s(counts)], counts.length, { attributes: { axis: 1 } });
}

/** Far below any score, and finite for any number of tokens. */
const UNSEEN = 1e30;

/**
 * 0 where a token sees another, −1e30 and less where it does not. A prompt's padding lies behind it, so no token sees it.
 * Arithmetic on floats, because providers lack comparisons of integers.
 */
function distanceMask(builder: GraphBuilder, totalTokens: Value, slidingWindow: number | undefined): Value {
  const range = builder.op("Range", [builder.int32(0), totalTokens, builder.int32(1)]);
  const positions = cast(builder, range, "int32", "float32"); // [tokens]
  const rows = builder.op("Unsqueeze", [positions, builder.int64s([1])]);
  const distance = builder.op("Sub", [rows, positions]); // [tokens, tokens]: how far behind the row's token
  const belowZero = (x: Value) =>
    builder.op("Mul", [builder.op("Min", [x, builder.float32(0)]), builder.float32(UNSEEN)]);
  const isAhead = belowZero(distance);
  if (slidingWindow === undefined) return isAhead;
  const left = builder.op("Sub", [builder.float32(slidingWindow - 1), distance]);
  return builder.op("Add", [isAhead, belowZero(left)]);
}

/** Names of the inputs that say how many tokens there are. */
export const COUNT_VALUES = {
  lastPositions: "last_positions", // int32 [batch]
  totalTokens: "total_tokens", // int32 [1]
} as const;

/** Names of the inputs and the output of attention alone. */
export const ATTENTION_VALUES = {
  ...COUNT_VALUES,
  query: "query", // [batch, tokens, heads × head_dim]
  key: "key", // [batch, tokens, kv_heads × head_dim]
  value: "value", // [batch, tokens, kv_heads × head_dim]
  attended: "attended", // [batch, tokens, heads × head_dim]
} as const;

/** Builds attention alone, to try out what a provider makes of it. */
export function buildAttention(shape: AttentionShape, arithmetic: Arithmetic = FLOAT32_ARITHMETIC): Graph {
  const { heads, kvHeads, headDim } = shape;
  const { elementType } = arithmetic;
  const builder = new GraphBuilder();
  const tokens = (name: string, count: number) =>
    cast(builder, builder.input(name, "float32", ["batch", "tokens", count * headDim]), "float32", elementType);
  const entering = {
    query: tokens(ATTENTION_VALUES.query, heads),
    key: tokens(ATTENTION_VALUES.key, kvHeads),
    value: tokens(ATTENTION_VALUES.value, kvHeads),
  };
  const counts = {
    lastPositions: builder.input(ATTENTION_VALUES.lastPositions, "int32", ["batch"]),
    totalTokens: builder.input(ATTENTION_VALUES.totalTokens, "int32", [1]),
  };
  const { attended } = attend({ builder, arithmetic }, shape, counts, entering);
  const wide = cast(builder, attended, elementType, "float32");
  builder.output(wide, ATTENTION_VALUES.attended, "float32", ["batch", "tokens", heads * headDim]);
  return builder.finish();
}
