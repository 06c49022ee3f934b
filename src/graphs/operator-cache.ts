// The cache that the attention operator itself keeps: buffers of fixed size, in FP8 or in the graph's type, and what
// attention reads from them. Does not know steps or loops.

import type { CacheSite } from "../architectures/cache-sites.js";
import { type GraphBuilder, NONE, type Value } from "../onnx/graph-builder.js";
import type { Arithmetic, ComputeType } from "./arithmetic.js";
import type { CacheReading } from "./attention.js";
import type { GraphContext } from "./blocks.js";
import type { CodedRounding } from "./decode-step.js";
import type { CacheBuffers } from "./fused-attention.js";
import { keptByCache, type Side, scaleAt } from "./kv-cache.js";
import { cast } from "./weights.js";

/** Types that the buffers may have. */
export type BufferType = "float8_e4m3fn" | ComputeType;

/**
 * The buffer type that holds every rounded number exactly; undefined when the operator has none. In a float32 graph the
 * operator can store only float32, which holds all of them.
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
 * Buffers of zeros for K and V of each site. Equal ones share a value: the operator never writes into a buffer from
 * outside its graph.
 * @param capacity int64 [1], larger than the number of tokens that will ever be stored
 */
export function emptyBuffers(
  builder: GraphBuilder,
  sites: readonly CacheSite[],
  type: BufferType,
  capacity: Value,
): CacheBuffers[] {
  const made = new Map<string, Value>();
  return sites.map(({ kvHeads, keyDim: headDim }) => {
    const key = `${kvHeads}×${headDim}`;
    const buffer =
      made.get(key) ?? zeros(builder, type, [builder.int64s([1, kvHeads]), capacity, builder.int64s([headDim])]);
    made.set(key, buffer);
    return { key: buffer, value: buffer }; // [1, kv_heads, capacity, head_dim]
  });
}

/** Expand and Cast, because CUDA has Expand in every operator version and Cast for every type. */
function zeros(builder: GraphBuilder, type: BufferType, sizes: readonly Value[]): Value {
  const shape = builder.op("Concat", sizes, { attributes: { axis: 0 } });
  return cast(builder, builder.op("Expand", [builder.float32(0), shape]), "float32", type);
}

/**
 * What attention reads: the new tokens, rounded as the cache will round them, and the buffers. The operator may attend
 * to its inputs before it stores them; because they are already rounded, both are the same.
 */
export function readOperatorCache(
  { builder, arithmetic }: GraphContext,
  cache: CodedRounding,
  { layer }: Pick<CacheSite, "layer">,
  buffers: CacheBuffers,
): CacheReading {
  const computed = arithmetic.elementType;
  const keep = (side: Side, x: Value) => {
    const entering = cast(builder, x, computed, "float32");
    return cast(builder, keptByCache(builder, [cache], { layer, side }, NONE, entering), "float32", computed);
  };
  const scale = (side: Side) => builder.float32s([scaleAt(cache, { layer, side })]);
  const isFloat8 = requireBufferType(cache, arithmetic) === "float8_e4m3fn";
  return ({ key, value }) => ({
    key: keep("k", key),
    value: keep("v", value),
    buffers,
    ...(isFloat8 && { scales: { k: scale("k"), v: scale("v") } }),
  });
}

/** Buffers before the operator, or after it. */
export interface HeldBuffers extends CacheBuffers {
  /** Both as float16, which holds every FP8 number; undefined where nothing had to be copied. */
  readonly wide?: readonly Value[]; // each [1, kv_heads, capacity, head_dim]
}

/**
 * Copies FP8 buffers before and after the operator. The operator stores FP8 in place; where ONNX Runtime gives it
 * another buffer as output, earlier tokens are lost without an error. ONNX Runtime reuses the buffer only if it is made
 * in the same graph, has no other reader, and is no output of the graph. A loop's state meets none of these conditions.
 * For other types the operator copies the past itself.
 */
export function holdBuffers(builder: GraphBuilder, type: BufferType, { key, value }: CacheBuffers): HeldBuffers {
  if (type !== "float8_e4m3fn") return { key, value };
  const wide = [key, value].map((buffer) => cast(builder, buffer, type, "float16")) as [Value, Value];
  const copy = (buffer: Value) => cast(builder, buffer, "float16", type);
  return { key: copy(wide[0]), value: copy(wide[1]), wide };
}

/**
 * How far earlier tokens in the buffers differ after the operator: 0, or the operator lost them.
 * @param isBefore float16 [capacity, 1]; 1 for tokens that were already stored, 0 for others
 * @returns float16 [] for each buffer that was copied; not finite when the buffer is not
 */
export function lostByOperator(
  builder: GraphBuilder,
  before: HeldBuffers,
  behind: HeldBuffers,
  isBefore: Value,
): Value[] {
  const { wide = [] } = before;
  return wide.map((past, index) => {
    const present = behind.wide?.[index];
    if (present === undefined) throw new RangeError("buffers were copied before the operator and not after it");
    const change = builder.op("Mul", [builder.op("Sub", [present, past]), isBefore]);
    return builder.op("ReduceSum", [builder.op("Abs", [change])], { attributes: { keepdims: 0 } });
  });
}
