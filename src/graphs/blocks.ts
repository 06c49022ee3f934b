// The small blocks that every decoder shares: linear, RMS norm, gated feed-forward, absmax. Each takes a description and
// appends nodes. Knows no family by name.

import type { Activation, GatedFeedForward, Linear, RmsNorm } from "../architectures/description.js";
import { type GraphBuilder, MICROSOFT_DOMAIN, type Value } from "../onnx/graph-builder.js";
import type { GraphWeights } from "./weights.js";

/** What every block needs: the graph that is being recorded, and the weights. */
export interface GraphContext {
  readonly builder: GraphBuilder;
  readonly weights: GraphWeights;
}

/** x · weightᵀ + bias. FusedMatMul takes the weight as it lies in the file; a plain MatMul would transpose it at load. */
export function linear({ builder, weights }: GraphContext, { weight, bias }: Linear, x: Value): Value {
  const product = builder.op("FusedMatMul", [x, weights.float32(weight)], {
    domain: MICROSOFT_DOMAIN,
    attributes: { transB: 1 },
  });
  return bias === undefined ? product : builder.op("Add", [product, weights.float32(bias)]); // [..., outputs]
}

/** x / √(mean(x²) + ε) · weight, over the last axis. */
export function rmsNorm({ builder, weights }: GraphContext, { weight, epsilon }: RmsNorm, x: Value): Value {
  return builder.op("SimplifiedLayerNormalization", [x, weights.float32(weight)], {
    attributes: { axis: -1, epsilon: { float: epsilon } },
  });
}

/** The sum of a residual and a block's output, and the sum's RMS norm, in one pass. */
export function addAndRmsNorm(
  { builder, weights }: GraphContext,
  { weight, epsilon }: RmsNorm,
  residual: Value,
  x: Value,
): { readonly sum: Value; readonly normed: Value } {
  const [normed, , , sum] = builder.ops("SkipSimplifiedLayerNormalization", [x, residual, weights.float32(weight)], 4, {
    domain: MICROSOFT_DOMAIN,
    attributes: { epsilon: { float: epsilon } },
  }) as [Value, Value, Value, Value];
  return { sum, normed };
}

/** down(activation(gate(x)) · up(x)) */
export function gatedFeedForward(
  context: GraphContext,
  { activation, gate, up, down }: GatedFeedForward,
  x: Value,
): Value {
  const gated = activate(context.builder, activation, linear(context, gate, x)); // [batch, tokens, intermediate]
  return linear(context, down, context.builder.op("Mul", [gated, linear(context, up, x)])); // [batch, tokens, hidden]
}

function activate(builder: GraphBuilder, activation: Activation, x: Value): Value {
  switch (activation) {
    case "silu": // x · sigmoid(1 · x)
      return builder.op("QuickGelu", [x], { domain: MICROSOFT_DOMAIN, attributes: { alpha: { float: 1 } } });
    case "gelu":
      return builder.op("Gelu", [x]);
    case "gelu_tanh":
      return builder.op("Gelu", [x], { attributes: { approximate: "tanh" } });
    case "relu":
      return builder.op("Relu", [x]);
  }
}

/** Splits the last axis into heads: [batch, tokens, heads × head_dim] → [batch, tokens, heads, head_dim]. */
export function splitHeads(builder: GraphBuilder, x: Value, heads: number, headDim: number): Value {
  return builder.op("Reshape", [x, builder.int64s([0, 0, heads, headDim])]);
}

/** [batch, tokens, heads, head_dim] → [batch, tokens, heads × head_dim] */
export function mergeHeads(builder: GraphBuilder, x: Value): Value {
  return builder.op("Reshape", [x, builder.int64s([0, 0, -1])]);
}

export interface Range {
  readonly absmax: Value; // [batch, heads]
  /** Not finite when any element is not: ReduceMax passes over NaN without a word, a sum does not. */
  readonly sumOfSquares: Value; // [batch]
}

/** The absmax per prompt and head of K or V. @param x [batch, tokens, heads, head_dim], padding set to 0 */
export function rangeOf(builder: GraphBuilder, x: Value): Range {
  const withoutKeptAxes = { attributes: { keepdims: 0 } };
  return {
    absmax: builder.op("ReduceMax", [builder.op("Abs", [x]), builder.int64s([1, 3])], withoutKeptAxes),
    sumOfSquares: builder.op("ReduceSumSquare", [x, builder.int64s([1, 2, 3])], withoutKeptAxes),
  };
}
