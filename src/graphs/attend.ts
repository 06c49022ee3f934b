// Attention over queries, and over keys and values as read from the cache: causal, grouped heads, with or without a
// window. By the fused operator, or unfused where that gives wrong values. Knows no weights.

import { valueDimOf } from "../architectures/blocks.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { attentionInChunks } from "./attend-in-chunks.js";
import { besideBfloat16, mergeHeads, sizeOf, splitHeads } from "./blocks.js";
import {
  type AttendContext,
  type Attended,
  type AttentionShape,
  fusedAttention,
  type QueriesKeysValues,
  scaleOf,
  type TokenCounts,
} from "./fused-attention.js";
import { cast } from "./weights.js";

/** Attention in the form that the arithmetic names. The values at padding are undefined. */
export function attend(
  context: AttendContext,
  shape: AttentionShape,
  counts: TokenCounts,
  entering: QueriesKeysValues,
): Attended {
  // The other forms compute whole prompts and take no past.
  const hasPast = entering.past !== undefined || entering.buffers !== undefined;
  if (shape.chunkSize !== undefined) {
    if (hasPast) throw new RangeError("attention in chunks of positions is for whole prompts");
    return { attended: attendByChunk(context, shape, shape.chunkSize, entering), present: undefined };
  }
  const form = hasPast ? "fused" : context.arithmetic.attention;
  if (form === "fused") return fusedAttention(context, shape, counts, entering);
  const record = form === "in-chunks" ? attentionInChunks : writtenOutAttention;
  return { attended: record(context, shape, counts, entering), present: undefined };
}

/**
 * Chunked attention: each chunk of positions is computed as a prompt of its own. The last one is padded with zeros at
 * its end, which no token attends to.
 */
function attendByChunk(
  context: AttendContext,
  { chunkSize: _, ...shape }: AttentionShape,
  chunkSize: number,
  { query, key, value, sinks }: QueriesKeysValues,
): Value {
  const { builder } = context;
  const { heads, kvHeads, headDim } = shape;
  const [tokens, one] = [sizeOf(builder, query, 1), builder.int64s([1])];
  const length = builder.op("Min", [tokens, builder.int64s([chunkSize])]); // of a chunk
  const chunks = builder.op("Div", [builder.op("Sub", [builder.op("Add", [tokens, length]), one]), length]);
  const missing = builder.op("Sub", [builder.op("Mul", [chunks, length]), tokens]);
  const concat = (parts: readonly Value[]) => builder.op("Concat", parts, { attributes: { axis: 0 } });
  const pads = concat([builder.int64s([0, 0, 0, 0]), missing, builder.int64s([0])]);
  const cut = (x: Value, width: number) => {
    const shapeOfChunks = concat([builder.int64s([-1]), length, builder.int64s([width])]);
    const filled = besideBfloat16(context, x, (wide) => builder.op("Pad", [wide, pads]));
    return builder.op("Reshape", [filled, shapeOfChunks]); // [batch × chunks, length, width]
  };
  const prompts = builder.op("Mul", [sizeOf(builder, query, 0), chunks]);
  const last = cast(builder, builder.op("Sub", [length, one]), "int64", "int32");
  const counts: TokenCounts = {
    lastPositions: builder.op("Expand", [last, prompts]),
    totalTokens: cast(builder, length, "int64", "int32"),
  };
  const width = valueDimOf(shape);
  const entering = {
    query: cut(query, heads * headDim),
    key: cut(key, kvHeads * headDim),
    value: cut(value, kvHeads * width),
    ...(sinks && { sinks }),
  };
  const axes = [`chunks_of_${chunkSize}`, `tokens_of_${chunkSize}`] as const;
  const { attended } = attend({ ...context, axes }, shape, counts, entering); // [batch × chunks, length, heads × value_dim]
  const whole = concat([builder.int64s([-1]), builder.op("Mul", [chunks, length]), builder.int64s([heads * width])]);
  const joined = builder.op("Reshape", [attended, whole]);
  return builder.op("Slice", [joined, builder.int64s([0]), tokens, one]);
}

/**
 * Scores of this many heads are in memory at a time. For a prompt of 2048 tokens they take 128 MiB, the largest binding
 * that every WebGPU device has.
 */
export const HEADS_AT_A_TIME = 8;

/**
 * softmax(q · kᵀ · scale + mask) · v, always in float32: products in 16 bits would overflow where keys are large. The
 * queries of a group are one matrix, so that keys and values need not be repeated.
 */
function writtenOutAttention(
  { builder, arithmetic: { elementType } }: AttendContext,
  shape: AttentionShape,
  { totalTokens }: TokenCounts,
  { query, key, value, sinks }: QueriesKeysValues,
): Value {
  const { heads, kvHeads, headDim, slidingWindow, softcap } = shape;
  const valueDim = valueDimOf(shape);
  const arrange = (x: Value, count: number, width: number, perm: readonly number[]) => {
    const wide = cast(builder, x, elementType, "float32");
    return builder.op("Transpose", [splitHeads(builder, wide, count, width)], { attributes: { perm: [...perm] } });
  };
  const mask = distanceMask(builder, totalTokens, slidingWindow);
  const group = heads / kvHeads;
  const counts = kvHeadsAtATime(kvHeads, group);
  const scale = builder.float32(scaleOf(shape));
  const scaled = builder.op("Mul", [arrange(query, heads, headDim, [0, 2, 1, 3]), scale]);
  const queries = split(
    builder,
    scaled, // [batch, heads, tokens, head_dim]
    counts.map((count) => count * group),
  );
  const keys = split(builder, arrange(key, kvHeads, headDim, [0, 2, 3, 1]), counts); // [batch, kv_heads, head_dim, tokens]
  const values = split(builder, arrange(value, kvHeads, valueDim, [0, 2, 1, 3]), counts); // [batch, kv_heads, tokens, value_dim]
  const sinkOfHeads =
    sinks === undefined ? [] : sinksByPart(builder, cast(builder, sinks, elementType, "float32"), counts, group);
  const attended = counts.map((count, part) => {
    const reshape = (x: Value, sizes: readonly number[]) => builder.op("Reshape", [x, builder.int64s(sizes)]);
    const [q, k, v] = [queries[part], keys[part], values[part]] as [Value, Value, Value];
    const scores = builder.op("MatMul", [reshape(q, [0, count, -1, headDim]), k]); // [batch, kv_heads, group × tokens, tokens]
    const capped = softcap === undefined ? scores : softCap(builder, scores, softcap);
    const masked = builder.op("Add", [reshape(capped, [0, count * group, -1, 0]), mask]); // [batch, heads, tokens, tokens]
    const sink = sinkOfHeads[part];
    const shares = sink === undefined ? softmax(builder, masked) : softmaxWithSink(builder, masked, sink);
    const sums = builder.op("MatMul", [reshape(shares, [0, count, -1, 0]), v]); // [batch, kv_heads, group × tokens, value_dim]
    return reshape(sums, [0, count * group, -1, valueDim]);
  });
  const joined = attended.length === 1 ? attended[0] : builder.op("Concat", attended, { attributes: { axis: 1 } });
  const turned = builder.op("Transpose", [joined as Value], { attributes: { perm: [0, 2, 1, 3] } });
  return cast(builder, mergeHeads(builder, turned), "float32", elementType); // [batch, tokens, heads × value_dim]
}

function softmax(builder: GraphBuilder, scores: Value): Value {
  return builder.op("Softmax", [scores], { attributes: { axis: -1 } });
}

/** Softmax with a sink: its share of the weights goes to no value. @param sink [1, heads, 1, 1] */
function softmaxWithSink(builder: GraphBuilder, scores: Value, sink: Value): Value {
  const ofToken = builder.op("Slice", [scores, builder.int64s([0]), builder.int64s([1]), builder.int64s([3])]);
  const column = builder.op("Add", [builder.op("Mul", [ofToken, builder.float32(0)]), sink]); // [batch, heads, tokens, 1]
  const shares = softmax(builder, builder.op("Concat", [column, scores], { attributes: { axis: -1 } }));
  return builder.op("Slice", [shares, builder.int64s([1]), builder.int64s([2 ** 31 - 1]), builder.int64s([3])]);
}

/** The sinks of each part, each [1, heads of the part, 1, 1]. */
function sinksByPart(builder: GraphBuilder, sinks: Value, counts: readonly number[], group: number): Value[] {
  const shaped = builder.op("Reshape", [sinks, builder.int64s([1, -1, 1, 1])]);
  return split(
    builder,
    shaped,
    counts.map((count) => count * group),
  );
}

/** cap · tanh(x / cap) */
export function softCap(builder: GraphBuilder, x: Value, cap: number): Value {
  const bounded = builder.op("Tanh", [builder.op("Div", [x, builder.float32(cap)])]);
  return builder.op("Mul", [bounded, builder.float32(cap)]);
}

/** Number of KV heads in each part. */
function kvHeadsAtATime(kvHeads: number, group: number): number[] {
  const most = Math.max(1, Math.floor(HEADS_AT_A_TIME / group));
  const parts = Math.ceil(kvHeads / most);
  return Array.from({ length: parts }, (_, part) => Math.min(most, kvHeads - part * most));
}

/** Splits heads, the second axis, into parts. */
function split(builder: GraphBuilder, x: Value, counts: readonly number[]): Value[] {
  if (counts.length === 1) return [x];
  return builder.ops("Split", [x, builder.int64s(counts)], counts.length, { attributes: { axis: 1 } });
}

/** Far below any score, and finite for any number of tokens. */
const UNSEEN = 1e30;

/**
 * The mask: 0 where a token attends to another, −1e30 or less where it does not. Padding lies after the prompt, so no
 * token attends to it. Computed with floats, because providers lack comparisons of integers.
 */
function distanceMask(builder: GraphBuilder, totalTokens: Value, slidingWindow: number | undefined): Value {
  const count = builder.op("Squeeze", [totalTokens]);
  const range = builder.op("Range", [builder.int32(0), count, builder.int32(1)]);
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

/** Names of the inputs for the numbers of tokens. */
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
  attended: "attended", // [batch, tokens, heads × value_dim]
} as const;

/** Builds a graph of attention alone, to test a provider's operator. */
export function buildAttention(shape: AttentionShape, arithmetic: Arithmetic = FLOAT32_ARITHMETIC): Graph {
  const { heads, kvHeads, headDim } = shape;
  const valueDim = valueDimOf(shape);
  const { elementType } = arithmetic;
  const builder = new GraphBuilder();
  const tokens = (name: string, width: number) =>
    cast(builder, builder.input(name, "float32", ["batch", "tokens", width]), "float32", elementType);
  const entering = {
    query: tokens(ATTENTION_VALUES.query, heads * headDim),
    key: tokens(ATTENTION_VALUES.key, kvHeads * headDim),
    value: tokens(ATTENTION_VALUES.value, kvHeads * valueDim),
  };
  const counts = {
    lastPositions: builder.input(ATTENTION_VALUES.lastPositions, "int32", ["batch"]),
    totalTokens: builder.input(ATTENTION_VALUES.totalTokens, "int32", [1]),
  };
  const { attended } = attend({ builder, arithmetic }, shape, counts, entering);
  const wide = cast(builder, attended, elementType, "float32");
  builder.output(wide, ATTENTION_VALUES.attended, "float32", ["batch", "tokens", heads * valueDim]);
  return builder.finish();
}
