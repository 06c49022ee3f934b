// Attention on the CPU: GroupQueryAttention over a chunk of a long prompt's queries at a time, without tiles. Knows no
// weights, and nothing of the kernels of other devices.

import { valueDimOf } from "../architectures/blocks.js";
import { type GraphBuilder, NONE, type Value } from "../onnx/graph-builder.js";
import { sizeOf } from "./blocks.js";
import {
  type AttendContext,
  type AttentionShape,
  filledHeadDim,
  fusedAttention,
  type QueriesKeysValues,
  type TokenCounts,
} from "./fused-attention.js";
import type { Side } from "./kv-cache.js";
import { cast } from "./weights.js";

/** Prompts of at most this many tokens are not cut into chunks: that would cost more than it saves. */
export const UNCUT_TOKENS = 512;
/**
 * Queries of a chunk at most. The scores of a head then fit into a core's cache for prompts of some thousand tokens.
 */
export const CHUNK_QUERIES = 256;
/** The scores of 32 heads over the chunk of a longer prompt would take more than 256 MiB. */
export const CHUNKED_TOKENS = 8192;

/**
 * Causal attention without the operator's tiles, as far as memory allows. The tiled kernel masks the scores one by one,
 * which takes longer than the products: 2.6 ms instead of 1.2 ms for 341 tokens of SmolLM2. Without tiles the operator
 * computes the whole square of scores, of which half is masked, and writes it to memory. So the queries of a long
 * prompt are cut into chunks, each with the keys up to its end: 24 ms instead of 48 ms for 2048 tokens.
 * @returns [batch, tokens, heads × value_dim]; padding has any values
 */
export function attentionInChunks(
  context: AttendContext,
  shape: AttentionShape,
  counts: TokenCounts,
  entering: QueriesKeysValues,
): Value {
  const { builder } = context;
  const [batch, tokens] = [sizeOf(builder, entering.query, 0), sizeOf(builder, entering.query, 1)];
  const isAtMost = (x: Value, limit: number) => builder.op("LessOrEqual", [x, builder.int64s([limit])]);
  // The operator takes a past only for a batch of one prompt.
  const isCut = builder.op("And", [isAtMost(batch, 1), isAtMost(tokens, CHUNKED_TOKENS)]);
  return choose(context, shape, isAtMost(tokens, UNCUT_TOKENS), {
    whenTrue: (short) => untiledAttention(short, shape, counts, entering).attended,
    whenFalse: (long) =>
      choose(long, shape, isCut, {
        whenTrue: (inner) => chunkByChunk(inner, shape, tokens, entering),
        whenFalse: (inner) => fusedAttention(inner, shape, counts, entering).attended,
      }),
  });
}

/** The result of one of two graphs, which an If chooses. [batch, tokens, heads × value_dim] */
function choose(
  context: AttendContext,
  shape: AttentionShape,
  condition: Value,
  record: Readonly<Record<"whenTrue" | "whenFalse", (inner: AttendContext) => Value>>,
): Value {
  const branch = (of: (inner: AttendContext) => Value) =>
    context.builder.subgraph((body) => {
      const attended = of({ ...context, builder: body });
      const axes = context.axes ?? ["batch", "tokens"];
      body.output(attended, "attended", "float32", [...axes, shape.heads * valueDimOf(shape)]);
    });
  return context.builder.op("If", [condition], {
    attributes: { then_branch: branch(record.whenTrue), else_branch: branch(record.whenFalse) },
  });
}

/** @param tokens int64 [1] */
function chunkByChunk(
  context: AttendContext,
  shape: AttentionShape,
  tokens: Value,
  entering: QueriesKeysValues,
): Value {
  const { builder } = context;
  const width = shape.heads * valueDimOf(shape);
  const chunks = divideUp(builder, tokens, builder.int64s([CHUNK_QUERIES]));
  const length = divideUp(builder, tokens, chunks);
  const body = builder.subgraph((inner) => {
    recordChunk({ ...context, builder: inner }, shape, { tokens, length }, entering);
  });
  const nothing = builder.op("ConstantOfShape", [builder.int64s(pastShape(shape, 0))]);
  const [, , stacked] = builder.ops("Loop", [chunks, NONE, nothing, nothing], 3, {
    attributes: { body },
  }) as [Value, Value, Value]; // [chunks, 1, length, heads × value_dim]
  const joined = builder.op("Reshape", [stacked, builder.int64s([1, -1, width])]);
  return builder.op("Slice", [joined, builder.int64s([0]), tokens, builder.int64s([1])]);
}

function pastShape<Tokens>(shape: AttentionShape, tokens: Tokens): [number, number, Tokens, number] {
  return [1, shape.kvHeads, tokens, filledHeadDim(shape)];
}

/**
 * The loop's body: a chunk's queries attend to the chunk's keys and to those before it, which are the state of the
 * loop.
 * @param sizes of the prompt and of a chunk, int64 [1]
 */
function recordChunk(
  context: AttendContext,
  shape: AttentionShape,
  { tokens, length }: Readonly<Record<"tokens" | "length", Value>>,
  { query, key, value, sinks }: QueriesKeysValues,
): void {
  const { builder } = context;
  const iteration = builder.input("iteration", "int64", []);
  const goesOn = builder.input("goes_on", "bool", []);
  const state = (side: Side) => builder.input(`past_${side}`, "float32", pastShape(shape, "past"));
  const buffers = { key: state("k"), value: state("v") };
  const start = builder.op("Mul", [length, iteration]); // [1]
  const fullEnd = builder.op("Add", [start, length]);
  const end = builder.op("Min", [fullEnd, tokens]);
  const ofChunk = (x: Value) => builder.op("Slice", [x, start, end, builder.int64s([1])]);
  const counts: TokenCounts = {
    lastPositions: cast(builder, builder.op("Sub", [end, builder.int64s([1])]), "int64", "int32"),
    totalTokens: cast(builder, end, "int64", "int32"),
  };
  const chunk = { query: ofChunk(query), key: ofChunk(key), value: ofChunk(value), buffers, ...(sinks && { sinks }) };
  const { attended, present } = untiledAttention(context, shape, counts, chunk);
  builder.output(goesOn, "goes_on_after", "bool", []);
  builder.output(present.key, "present_k", "float32", pastShape(shape, "present"));
  builder.output(present.value, "present_v", "float32", pastShape(shape, "present"));
  // The loop stacks the results of all chunks, which must have one shape: the last chunk is padded.
  const missing = builder.op("Sub", [fullEnd, end]);
  const pads = [builder.int64s([0, 0, 0, 0]), missing, builder.int64s([0])];
  const filled = builder.op("Pad", [attended, builder.op("Concat", pads, { attributes: { axis: 0 } })]);
  builder.output(filled, "attended", "float32", [1, "chunk", shape.heads * valueDimOf(shape)]);
}

/** Far below any score: it adds nothing to the denominator of a softmax. */
const NO_SINK = -1e30;

/** The operator does not tile when heads have a sink, which is a score that belongs to no token. */
function untiledAttention(
  context: AttendContext,
  shape: AttentionShape,
  counts: TokenCounts,
  entering: QueriesKeysValues,
) {
  const none = () => context.builder.float32s(Array.from({ length: shape.heads }, () => NO_SINK));
  return fusedAttention(context, shape, counts, { ...entering, sinks: entering.sinks ?? none() });
}

function divideUp(builder: GraphBuilder, x: Value, by: Value): Value {
  const last = builder.op("Sub", [by, builder.int64s([1])]);
  return builder.op("Div", [builder.op("Add", [x, last]), by]);
}
