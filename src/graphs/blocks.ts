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

/**
 * x / √(mean(x²) + ε) · weight, over the last axis. Written out, and not in the form that ONNX Runtime would fuse: its
 * fused norm adds up the squares one after another in float32, which the layers above amplify to 1e-5 of a key.
 */
export function rmsNorm({ builder, weights }: GraphContext, { weight, epsilon }: RmsNorm, x: Value): Value {
  const lastAxis = builder.int64s([-1]);
  const meanSquare = builder.op("ReduceMean", [builder.op("Mul", [x, x]), lastAxis], { attributes: { keepdims: 1 } });
  const root = builder.op("Sqrt", [builder.op("Add", [meanSquare, builder.float32(epsilon)])]);
  const normed = builder.op("Mul", [x, builder.op("Reciprocal", [root])]);
  return builder.op("Mul", [normed, weights.float32(weight)]);
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
