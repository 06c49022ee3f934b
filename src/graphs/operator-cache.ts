// The cache as the attention operator itself keeps it: buffers of FP8 or of the type that is computed in, which grow no
// more, and what attention reads of them. Knows neither steps nor loops.

import type { DecoderLayer } from "../architectures/description.js";
import { type GraphBuilder, NONE, type Value } from "../onnx/graph-builder.js";
import type { Arithmetic, ComputeType } from "./arithmetic.js";
import type { CacheReading } from "./attention.js";
import type { GraphContext } from "./blocks.js";
import type { CodedRounding } from "./decode-step.js";
import type { CacheBuffers } from "./fused-attention.js";
import { keptByCache, type Side } from "./kv-cache.js";
import { cast } from "./weights.js";

/** What the buffers may consist of. */
export type BufferType = "float8_e4m3fn" | ComputeType;

/**
 * The type that keeps exactly what a rounding leaves; undefined when the operator has none. Where float32 is computed in,
 * nothing narrower can be stored, and nothing is lost.
 */
export function bufferTypeOf({ elementType }: CodedRounding, arithmetic: Arithmetic): BufferType | undefined {
  const computed = arithmetic.elementType;
  if (computed === "float32" || computed === elementType) return computed;
  return elementType === "float8_e4m3fn" ? elementType : undefined;
}

/** @throws RangeError when the operator has none: see bufferTypeOf */
export function requireBufferType(cache: CodedRounding, arithmetic: Arithmetic): BufferType {
  const type = bufferTypeOf(cache, arithmetic);
  if (type === undefined) throw new RangeError(`the operator keeps no cache of ${cache.elementType}`);
  return type;
}

/**
 * Buffers of zeros for K and V of each layer. Equal ones are one value: the operator never writes into what it is given
 * from outside of its graph.
 * @param capacity int64 [1]; more tokens than will ever be stored
 */
export function emptyBuffers(
  builder: GraphBuilder,
  layers: readonly DecoderLayer[],
  type: BufferType,
  capacity: Value,
): CacheBuffers[] {
  const made = new Map<string, Value>();
  return layers.map(({ attention: { kvHeads, headDim } }) => {
    const key = `${kvHeads}×${headDim}`;
    const buffer =
      made.get(key) ?? zeros(builder, type, [builder.int64s([1, kvHeads]), capacity, builder.int64s([headDim])]);
    made.set(key, buffer);
    return { key: buffer, value: buffer }; // [1, kv_heads, capacity, head_dim]
  });
}

/** Expanded, because CUDA has that for every version of the operators, and cast, because it has it for every type. */
function zeros(builder: GraphBuilder, type: BufferType, sizes: readonly Value[]): Value {
  const shape = builder.op("Concat", sizes, { attributes: { axis: 0 } });
  return cast(builder, builder.op("Expand", [builder.float32(0), shape]), "float32", type);
}

/**
 * What attention reads: the new tokens rounded as the cache will round them, and the buffers. The operator may attend over
 * what it is given before it stores that; rounded already, both are the same.
 */
export function readOperatorCache(
  { builder, arithmetic }: GraphContext,
  cache: CodedRounding,
  { index: layer }: DecoderLayer,
  buffers: CacheBuffers,
): CacheReading {
  const computed = arithmetic.elementType;
  const keep = (side: Side, x: Value) => {
    const entering = cast(builder, x, computed, "float32");
    return cast(builder, keptByCache(builder, [cache], { layer, side }, NONE, entering), "float32", computed);
  };
  const scale = (side: Side) => builder.float32s([cache.scales?.[side][layer] ?? 1]);
  const isFloat8 = requireBufferType(cache, arithmetic) === "float8_e4m3fn";
  return ({ key, value }) => ({
    key: keep("k", key),
    value: keep("v", value),
    buffers,
    ...(isFloat8 && { scales: { k: scale("k"), v: scale("v") } }),
  });
}
