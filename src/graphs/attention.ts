// The attention block, with K and V measured where they enter the cache: K after norm and rotation, V as projected,
// padding set to zero. Knows no family by name.

import {
  type Attention,
  type AttentionReading,
  type HeadNorm,
  type RopeUse,
  type SharedAttention,
  valueDimOf,
} from "../architectures/blocks.js";
import { MICROSOFT_DOMAIN, type Value } from "../onnx/graph-builder.js";
import { attend } from "./attend.js";
import {
  besideBfloat16,
  type GraphContext,
  linear,
  mergeHeads,
  multiplied,
  type Range,
  rangeOf,
  splitHeads,
} from "./blocks.js";
import {
  type CacheBuffers,
  fusedAttention,
  type KeysAndValues,
  type QueriesKeysValues,
  type Rotation,
  type TokenCounts,
} from "./fused-attention.js";
import { norm } from "./norm.js";
import { cast } from "./weights.js";

/** The inputs of a batch beside its hidden states. */
export interface BatchInputs extends TokenCounts {
  /** 1 for a token, 0 for padding. In the type that the graph computes in, like the rotation's tables. */
  readonly mask: Value; // [batch, tokens, 1]
  /** By the decoder's `ropes`. */
  readonly rotations: readonly Rotation[];
}

export interface KeyValueRanges {
  readonly k: Range;
  readonly v: Range;
}

/**
 * Gives what attention reads for the K and V that enter the cache: the same values, when the cache keeps them exactly.
 */
export type CacheReading = (entering: KeysAndValues) => Omit<QueriesKeysValues, "query">;

/** The fused rotation needs a head size that is a multiple of this. */
const ROTATED_HEAD_DIM_MULTIPLE = 16;

/**
 * Grouped-query attention, the ranges of K and V that enter its cache, and K and V as read from it, which
 * `sharedAttention` of other layers takes.
 * @param x [batch, tokens, hidden]
 * @param read gives what attention reads from the cache; without it, exactly what entered
 * @param isShared whether other layers read the cache; if not, the operator may rotate K internally
 */
export function attention(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
  read?: CacheReading,
  isShared = false,
): { readonly output: Value; readonly ranges: KeyValueRanges; readonly cached?: KeysAndValues } {
  if (read === undefined && !isShared && canRotate(context, description))
    return attentionThatRotates(context, description, inputs, x);
  const { output, entering, cached } = cachedAttention(context, description, inputs, x, read ?? keepAll);
  return { output, ranges: rangesOf(context, description, entering), cached };
}

/**
 * Attention over the cache of an earlier layer. @param x [batch, tokens, hidden] @param cached K and V as read from it
 */
export function sharedAttention(
  context: GraphContext,
  description: SharedAttention,
  inputs: BatchInputs,
  x: Value,
  cached: KeysAndValues,
): Value {
  const query = rotatedQueries(context, description, inputs, x);
  const entering = { query, ...cached, ...sinksOf(context, description) };
  return outputOf(context, description, x, attend(context, description, inputs, entering).attended);
}

/**
 * Grouped-query attention over K and V as read from the cache; returns also K and V that enter it and, where the
 * operator keeps the cache, the operator's buffers.
 * @param x [batch, tokens, hidden]
 */
export function cachedAttention(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
  read: CacheReading,
): {
  readonly output: Value;
  readonly entering: KeysAndValues;
  readonly cached: KeysAndValues;
  readonly present: CacheBuffers | undefined;
} {
  const query = rotatedQueries(context, description, inputs, x);
  const entering = keysAndValues(context, description, inputs, x);
  const cached = read(entering);
  const { attended, present } = attend(context, description, inputs, {
    query,
    ...cached,
    ...sinksOf(context, description),
  });
  return { output: outputOf(context, description, x, attended), entering, cached, present };
}

const keepAll: CacheReading = (entering) => entering;

/** Whether the operator can rotate, and only that rotation lies between the projections and the cache. */
function canRotate({ arithmetic }: GraphContext, description: Attention): boolean {
  const { headDim, rope, queryRope, queryNorm, keyNorm, chunkSize } = description;
  const hasOneRotation = queryRope === undefined && chunkSize === undefined;
  const isFused = arithmetic.attention === "fused" && arithmetic.rotation === "fused" && hasOneRotation;
  const isWhole = rope?.dimensions === headDim && rope.pairing === "halves" && valueDimOf(description) === headDim;
  const isLast = [queryNorm, keyNorm].every((each) => each?.when !== "after-rotation");
  return isFused && isWhole && isLast && headDim % ROTATED_HEAD_DIM_MULTIPLE === 0;
}

/** The same where the operator rotates: K is measured in the operator's output. */
function attentionThatRotates(
  context: GraphContext,
  description: Attention,
  inputs: BatchInputs,
  x: Value,
): { readonly output: Value; readonly ranges: KeyValueRanges } {
  const { builder } = context;
  const { kvHeads, headDim, rope } = description;
  const value = maskedValues(context, description, inputs, x);
  const entering = {
    query: queries(context, description, x),
    key: keys(context, description, x),
    value,
    ...sinksOf(context, description),
  };
  const rotation = rotationOf(inputs, rope?.rope ?? 0);
  const { attended, present } = fusedAttention(context, description, inputs, entering, { rotation });
  const mask = builder.op("Unsqueeze", [inputs.mask, builder.int64s([1])]); // [batch, 1, tokens, 1]
  return {
    output: outputOf(context, description, x, attended),
    ranges: {
      k: rangeOf(context, builder.op("Mul", [present.key, mask]), 2),
      v: rangeOf(context, splitHeads(builder, value, kvHeads, headDim)),
    },
  };
}

/** Only K and V of a layer. For the last one: nothing after them reaches a cache. @param x [batch, tokens, hidden] */
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
  const { keyNorm, kvHeads, headDim } = description;
  const rotated = rotate(context, inputs, keys(context, description, x), kvHeads, {
    rope: description.rope,
    headDim,
  });
  const key = normedHeads(context, rotated, kvHeads, headDim, keyNorm, "after-rotation");
  return {
    key: context.builder.op("Mul", [key, inputs.mask]),
    value: maskedValues(context, description, inputs, x),
  };
}

/** Attention of a layer with or without a cache of its own; one without has no clip of its own. */
type QueryReading = AttentionReading & Pick<Attention, "clip">;

/** [batch, tokens, heads × head_dim] */
function rotatedQueries(context: GraphContext, description: QueryReading, inputs: BatchInputs, x: Value): Value {
  const { queryNorm, heads, headDim, rope, queryRope = rope } = description;
  const rotated = rotate(context, inputs, queries(context, description, x), heads, { rope: queryRope, headDim });
  return normedHeads(context, rotated, heads, headDim, queryNorm, "after-rotation");
}

/** Before rotation. [batch, tokens, heads × head_dim] */
function queries(context: GraphContext, { query, queryNorm, heads, headDim, clip }: QueryReading, x: Value): Value {
  const normed = normedHeads(context, linear(context, query, x), heads, headDim, queryNorm, "before-rotation");
  return clipped(context, clip, normed);
}

/** Before rotation. [batch, tokens, kv_heads × head_dim] */
function keys(context: GraphContext, description: Attention, x: Value): Value {
  const { key, keyNorm, kvHeads, headDim, clip, keyMultiplier } = description;
  const scaled = multiplied(context, linear(context, key, x), keyMultiplier);
  return clipped(context, clip, normedHeads(context, scaled, kvHeads, headDim, keyNorm, "before-rotation"));
}

/** Padding set to zero. [batch, tokens, kv_heads × value_dim] */
function maskedValues(context: GraphContext, description: Attention, { mask }: BatchInputs, x: Value): Value {
  const { value, valueNorm, kvHeads, clip, valueMultiplier } = description;
  const { builder } = context;
  const scaled = multiplied(context, linear(context, value, x), valueMultiplier);
  const normed =
    valueNorm === undefined
      ? scaled
      : mergeHeads(builder, norm(context, valueNorm, splitHeads(builder, scaled, kvHeads, valueDimOf(description))));
  return builder.op("Mul", [clipped(context, clip, normed), mask]);
}

function clipped(context: GraphContext, clip: number | undefined, y: Value): Value {
  if (clip === undefined) return y;
  const { builder } = context;
  return besideBfloat16(context, y, (wide, type) => {
    const limit = (value: number) => cast(builder, builder.float32(value), "float32", type);
    return builder.op("Clip", [wide, limit(-clip), limit(clip)]);
  });
}

function rangesOf(context: GraphContext, description: Attention, { key, value }: KeysAndValues): KeyValueRanges {
  const { kvHeads, headDim } = description;
  return {
    k: rangeOf(context, splitHeads(context.builder, key, kvHeads, headDim)),
    v: rangeOf(context, splitHeads(context.builder, value, kvHeads, valueDimOf(description))),
  };
}

/** Rotates each head by its position, as transformers does. @param x [batch, tokens, heads × head_dim] */
function rotate(
  { builder }: GraphContext,
  inputs: BatchInputs,
  x: Value,
  heads: number,
  { rope, headDim }: { readonly rope: RopeUse | undefined; readonly headDim: number },
): Value {
  if (rope === undefined) return x;
  const { cos, sin } = rotationOf(inputs, rope.rope);
  return builder.op("RotaryEmbedding", [x, builder.int64s([0]), cos, sin], {
    domain: MICROSOFT_DOMAIN,
    attributes: {
      num_heads: heads,
      ...(rope.dimensions !== headDim && { rotary_embedding_dim: rope.dimensions }),
      ...(rope.pairing === "neighbours" && { interleaved: 1 }),
    },
  });
}

function rotationOf({ rotations }: BatchInputs, index: number): Rotation {
  const rotation = rotations[index];
  if (rotation === undefined) throw new RangeError(`no rotation ${index} among ${rotations.length}`);
  return rotation;
}

function normedHeads(
  context: GraphContext,
  x: Value,
  heads: number,
  headDim: number,
  headNorm: HeadNorm | undefined,
  when: HeadNorm["when"],
): Value {
  if (headNorm?.when !== when) return x;
  if (headNorm.over === "projection") return norm(context, headNorm.norm, x);
  const { builder } = context;
  return mergeHeads(builder, norm(context, headNorm.norm, splitHeads(builder, x, heads, headDim)));
}

function sinksOf({ weights, arithmetic }: GraphContext, { sinks }: AttentionReading): { readonly sinks?: Value } {
  return sinks === undefined ? {} : { sinks: weights.as(arithmetic.elementType, sinks) };
}

/** The output projection, after the gate where there is one. @param attended [batch, tokens, heads × value_dim] */
function outputOf(context: GraphContext, description: AttentionReading, x: Value, attended: Value): Value {
  const { gate, output, heads } = description;
  if (gate === undefined) return linear(context, output, attended);
  const { builder } = context;
  const valueDim = valueDimOf(description);
  const projected = linear(context, gate.projection, x);
  const open =
    gate.activation === "sigmoid"
      ? builder.op("Sigmoid", [projected])
      : besideBfloat16(context, projected, (wide) => builder.op("Softplus", [wide]));
  if (gate.projection.outputs === heads * valueDim) {
    return linear(context, output, builder.op("Mul", [attended, open]));
  }
  const perHead = builder.op("Unsqueeze", [open, builder.int64s([-1])]); // [batch, tokens, heads, 1]
  const gated = builder.op("Mul", [splitHeads(builder, attended, heads, valueDim), perHead]);
  return linear(context, output, mergeHeads(builder, gated));
}
