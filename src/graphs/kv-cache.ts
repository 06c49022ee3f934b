// What a cache keeps of K and V: rounded to a dtype and back, and what was lost on the way. Which of several roundings a
// run goes through is an input of the graph, so that one session, and its weights, serve every arm of a comparison.

import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import { ELEMENT_TYPES, type ElementType } from "../onnx/model-proto.js";
import { castToFloat32 } from "./weights.js";

export type Side = "k" | "v";

export interface CacheRounding {
  /** What the cache stores; float32 keeps everything. */
  readonly elementType: ElementType;
  /** Largest finite value of that type: larger ones are cut to it. */
  readonly largest: number;
  /** By layer; what is stored is x / scale. Absent: x itself. */
  readonly scales?: Readonly<Record<Side, readonly number[]>>;
}

export interface CacheLoss {
  /** Σ (x − x̂)² */
  readonly noise: Value; // [batch]
  /** Elements with |x / scale| beyond the largest value. */
  readonly saturated: Value; // [batch]
  /** Elements other than zero that became zero. */
  readonly flushed: Value; // [batch]
}

/**
 * x̂ = scale · round(x / scale), by the rounding that `choice` says: to nearest, ties to even, saturating.
 * @param x [batch, tokens, kv_heads × head_dim], padding set to 0
 * @param choice which of the roundings; int32 [1]
 */
export function throughCache(
  builder: GraphBuilder,
  roundings: readonly CacheRounding[],
  { layer, side }: { readonly layer: number; readonly side: Side },
  choice: Value,
  x: Value,
): { readonly kept: Value; readonly loss: CacheLoss } {
  const scaleOf = (rounding: CacheRounding) => rounding.scales?.[side][layer];
  const [kept, saturated] = chooseRounding(builder, roundings, scaleOf, 0, choice, x);
  const sumAxes = builder.int64s([1, 2]);
  const withoutKeptAxes = { attributes: { keepdims: 0 } };
  const lost = builder.op("Sub", [x, kept]);
  const zero = builder.float32(0);
  const becameZero = builder.op("And", [
    builder.op("Equal", [kept, zero]),
    builder.op("Not", [builder.op("Equal", [x, zero])]),
  ]);
  return {
    kept,
    loss: {
      noise: builder.op("ReduceSumSquare", [lost, sumAxes], withoutKeptAxes),
      saturated,
      flushed: count(builder, becameZero),
    },
  };
}

/** A chain of If nodes: only the chosen rounding is computed. */
function chooseRounding(
  builder: GraphBuilder,
  roundings: readonly CacheRounding[],
  scaleOf: (rounding: CacheRounding) => number | undefined,
  index: number,
  choice: Value,
  x: Value,
): readonly [kept: Value, saturated: Value] {
  const rounding = roundings[index];
  if (rounding === undefined) throw new RangeError("no roundings to choose from");
  if (index === roundings.length - 1) return round(builder, rounding, scaleOf(rounding), x);
  const branchOf = (record: (branch: GraphBuilder) => readonly [Value, Value]) =>
    builder.branch((branch) => {
      const [kept, saturated] = record(branch);
      branch.output(kept, branch.freshName("kept"), "float32", ["batch", "tokens", "width"]);
      branch.output(saturated, branch.freshName("saturated"), "float32", ["batch"]);
    });
  const isChosen = builder.op("Equal", [choice, builder.int32(index)]);
  const attributes = {
    then_branch: branchOf((branch) => round(branch, rounding, scaleOf(rounding), x)),
    else_branch: branchOf((branch) => chooseRounding(branch, roundings, scaleOf, index + 1, choice, x)),
  };
  return builder.ops("If", [isChosen], 2, { attributes }) as [Value, Value];
}

function round(
  builder: GraphBuilder,
  { elementType, largest }: CacheRounding,
  scale: number | undefined,
  x: Value,
): readonly [kept: Value, saturated: Value] {
  const scaled = scale === undefined ? x : builder.op("Div", [x, builder.float32(scale)]);
  const isBeyond = builder.op("Greater", [builder.op("Abs", [scaled]), builder.float32(largest)]);
  const saturated = count(builder, isBeyond);
  if (elementType === "float32") return [builder.op("Identity", [x]), saturated];
  const isFloat8 = elementType.startsWith("float8");
  const attributes = { to: ELEMENT_TYPES[elementType], ...(isFloat8 && { saturate: 1 }) };
  const kept = castToFloat32(builder, builder.op("Cast", [scaled], { attributes }));
  return [scale === undefined ? kept : builder.op("Mul", [kept, builder.float32(scale)]), saturated];
}

/** How many are true, per row of the batch. Exact up to 2²⁴. */
function count(builder: GraphBuilder, isTrue: Value): Value {
  const ones = castToFloat32(builder, isTrue);
  return builder.op("ReduceSum", [ones, builder.int64s([1, 2])], { attributes: { keepdims: 0 } }); // [batch]
}
