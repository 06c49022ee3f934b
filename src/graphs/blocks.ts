// The parts of blocks: linear, activation, feed-forward, absmax. Each takes a description and appends nodes. Knows no
// family by name.

import type { Activation, ClampedSwiglu, FeedForward, Linear, PerLayerInput, Xielu } from "../architectures/blocks.js";
import { outputsAxis, type WeightSource } from "../architectures/weight-source.js";
import { type GraphBuilder, MICROSOFT_DOMAIN, type Value } from "../onnx/graph-builder.js";
import type { ElementType } from "../onnx/model-proto.js";
import type { Arithmetic } from "./arithmetic.js";
import { cast, type GraphWeights } from "./weights.js";

/** What every block needs: the graph that is being recorded, the weights, and the arithmetic. */
export interface GraphContext {
  readonly builder: GraphBuilder;
  readonly weights: GraphWeights;
  readonly arithmetic: Arithmetic;
}

/**
 * What an operator without a kernel in bfloat16 gives: it computes in float32 then, from numbers that were widened.
 * @param compute gets values of the type
 */
export function besideBfloat16(
  { builder, arithmetic: { elementType } }: Pick<GraphContext, "builder" | "arithmetic">,
  x: Value,
  compute: (wide: Value, type: ElementType) => Value,
): Value {
  const type = elementType === "bfloat16" ? "float32" : elementType;
  return cast(builder, compute(cast(builder, x, elementType, type), type), type, elementType);
}

/** x · weightᵀ + bias */
export function linear(context: GraphContext, description: Linear, x: Value): Value {
  return withBias(context, description, multiply(context, x, description.weight)); // [..., outputs]
}

/** y + bias */
export function withBias({ builder, weights, arithmetic }: GraphContext, { bias }: Linear, y: Value): Value {
  return bias === undefined ? y : builder.op("Add", [y, weights.as(arithmetic.elementType, bias)]);
}

/** x · weightᵀ, wherever and however the weight is stored. All products of layers go through here. */
export function multiply(context: GraphContext, x: Value, source: WeightSource): Value {
  const { builder, weights, arithmetic } = context;
  const weight = weights.as(arithmetic.elementType, source);
  return outputsAxis(source) === 1 ? builder.op("MatMul", [x, weight]) : product(context, x, weight);
}

/**
 * x · weightᵀ
 * @param x [batch, tokens, inputs]
 * @param weight [outputs, inputs]
 */
function product({ builder, arithmetic }: GraphContext, x: Value, weight: Value): Value {
  if (arithmetic.product === "FusedMatMul") {
    return builder.op("FusedMatMul", [x, weight], { domain: MICROSOFT_DOMAIN, attributes: { transB: 1 } });
  }
  const stored = arithmetic.product === "Transpose-MatMul" ? notConstant(builder, weight, x) : weight;
  return builder.op("MatMul", [x, builder.op("Transpose", [stored], { attributes: { perm: [1, 0] } })]);
}

/**
 * The matrix, disguised as not constant. ONNX Runtime transposes constants on the processor while the session opens,
 * which takes longer than a device needs for thousands of tokens. The matrix gets a shape of zeros, which keeps every
 * size, and that shape depends on an input.
 */
function notConstant(builder: GraphBuilder, matrix: Value, input: Value): Value {
  const sizes = builder.op("Shape", [input], { attributes: { start: 0, end: 2 } });
  return builder.op("Reshape", [matrix, builder.op("Mul", [sizes, builder.int64s([0, 0])])]);
}

/** x times a number, in the graph's type. */
export function multiplied({ builder, arithmetic }: GraphContext, x: Value, by: number | undefined): Value {
  if (by === undefined || by === 1) return x;
  return builder.op("Mul", [x, cast(builder, builder.float32(by), "float32", arithmetic.elementType)]);
}

/** down(activation(gate(x)) · up(x)), or down(activation(up(x))) */
export function feedForward(
  context: GraphContext,
  { activation, gate, gateMultiplier, gateCutoff, up, down }: FeedForward,
  x: Value,
): Value {
  if (gate === undefined) return linear(context, down, activated(context, activation, linear(context, up, x)));
  const opened = multiplied(context, linear(context, gate, x), gateMultiplier); // [batch, tokens, intermediate]
  const passed = linear(context, up, x);
  const open = gateCutoff === undefined ? opened : aboveCutoff(context, opened, gateCutoff);
  if (isClamped(activation)) return linear(context, down, clampedSwiglu(context, activation, open, passed));
  return linear(context, down, gatedActivation(context, { activation, up }, open, passed)); // [batch, tokens, hidden]
}

/** activation(open) · passed */
export function gatedActivation(
  context: GraphContext,
  { activation, up }: Pick<FeedForward, "activation" | "up">,
  open: Value,
  passed: Value,
): Value {
  const { builder, arithmetic } = context;
  return activation === "silu" && arithmetic.gate === "fused"
    ? fusedSiluGate(context, open, passed, up.outputs)
    : builder.op("Mul", [activated(context, activation, open), passed]);
}

function isClamped(activation: FeedForward["activation"]): activation is ClampedSwiglu {
  return typeof activation !== "string" && activation.kind === "clamped-swiglu";
}

/** Always in float32, as in the fused kernels of engines. */
function clampedSwiglu(
  { builder, arithmetic: { elementType } }: GraphContext,
  { alpha, limit }: ClampedSwiglu,
  open: Value,
  passed: Value,
): Value {
  const wide = (x: Value) => cast(builder, x, elementType, "float32");
  const [low, high] = [builder.float32(-limit), builder.float32(limit)];
  const gate = builder.op("Min", [wide(open), high]);
  const up = builder.op("Max", [builder.op("Min", [wide(passed), high]), low]);
  const glu = builder.op("QuickGelu", [gate], { domain: MICROSOFT_DOMAIN, attributes: { alpha: { float: alpha } } });
  const gated = builder.op("Mul", [glu, builder.op("Add", [up, builder.float32(1)])]);
  return cast(builder, gated, "float32", elementType);
}

/** relu(x − mean − deviations · standard deviation) over each token's numbers, in float32 like all long sums. */
function aboveCutoff({ builder, arithmetic: { elementType } }: GraphContext, x: Value, deviations: number): Value {
  const wide = cast(builder, x, elementType, "float32");
  const meanOf = (of: Value) => builder.op("ReduceMean", [of, builder.int64s([-1])], { attributes: { keepdims: 1 } }); // [batch, tokens, 1]
  const centred = builder.op("Sub", [wide, meanOf(wide)]);
  const deviation = builder.op("Sqrt", [meanOf(builder.op("Mul", [centred, centred]))]);
  const cutoff = builder.op("Mul", [deviation, builder.float32(deviations)]);
  return cast(builder, builder.op("Relu", [builder.op("Sub", [centred, cutoff])]), "float32", elementType);
}

/** projection(activation(gate(x)) · embedded) @param embedded [batch, tokens, size] */
export function perLayerInput(
  context: GraphContext,
  { activation, gate, projection }: PerLayerInput,
  x: Value,
  embedded: Value,
): Value {
  const { builder } = context;
  const open = activate(builder, activation, linear(context, gate, x));
  return linear(context, projection, builder.op("Mul", [open, embedded]));
}

/**
 * silu(open) · passed in one pass over memory. The operator is an RMS norm with a gate: passed / √(mean(passed²) + ε) ·
 * weight · silu(open). With ε = 2⁶⁶ and a weight of 2³³ the norm has no effect: both are powers of two, and the mean is
 * below the last bit of ε as long as |passed| stays below 2²⁰. In float16 that weight would be infinite.
 */
function fusedSiluGate({ builder, arithmetic }: GraphContext, open: Value, passed: Value, width: number): Value {
  const weights = builder.op("Expand", [builder.float32(2 ** 33), builder.int64s([width])]);
  const inputs = [passed, cast(builder, weights, "float32", arithmetic.elementType), open];
  return builder.op("GatedRMSNorm", inputs, { domain: MICROSOFT_DOMAIN, attributes: { epsilon: { float: 2 ** 66 } } });
}

/** activation(x) */
export function activated(context: GraphContext, activation: FeedForward["activation"], x: Value): Value {
  if (typeof activation === "string") return activate(context.builder, activation, x);
  if (activation.kind === "xielu") return xielu(context, activation, x);
  throw new RangeError(`${activation.kind} needs a gate`);
}

/**
 * In float32, with exp(x) − 1 made from tanh: near 0 the difference would lose most of its digits in 16 bits, and some
 * in 32.
 */
function xielu({ builder, weights, arithmetic }: GraphContext, activation: Xielu, x: Value): Value {
  const number = (source: WeightSource) => weights.as("float32", source);
  const op = (operator: string, ...inputs: readonly Value[]) => builder.op(operator, inputs);
  const wide = cast(builder, x, arithmetic.elementType, "float32");
  const beta = number(activation.beta);
  const linearPart = op("Mul", beta, wide);
  const growing = op("Mul", op("Softplus", number(activation.positive)), op("Mul", wide, wide));
  const half = op("Tanh", op("Mul", op("Min", wide, number(activation.epsilon)), builder.float32(0.5)));
  const shrunk = op("Div", op("Add", half, half), op("Sub", builder.float32(1), half)); // exp − 1
  const slope = op("Add", beta, op("Softplus", number(activation.negative)));
  const falling = op("Mul", slope, op("Sub", shrunk, wide));
  const chosen = op("Where", op("Greater", wide, builder.float32(0)), growing, falling);
  return cast(builder, op("Add", chosen, linearPart), "float32", arithmetic.elementType);
}

function activate(builder: GraphBuilder, activation: Activation, x: Value): Value {
  switch (activation) {
    case "silu": // x · sigmoid(1 · x)
      return builder.op("QuickGelu", [x], { domain: MICROSOFT_DOMAIN, attributes: { alpha: { float: 1 } } });
    case "gelu":
      return builder.op("Gelu", [x]);
    case "gelu_tanh":
      return builder.op("Gelu", [x], { attributes: { approximate: "tanh" } });
    case "gelu_quick":
      return builder.op("QuickGelu", [x], { domain: MICROSOFT_DOMAIN, attributes: { alpha: { float: 1.702 } } });
    case "relu":
      return builder.op("Relu", [x]);
    case "relu2": {
      const positive = builder.op("Relu", [x]);
      return builder.op("Mul", [positive, positive]);
    }
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

/** The size of an axis. int64 [1] */
export function sizeOf(builder: GraphBuilder, x: Value, axis: number): Value {
  return builder.op("Gather", [builder.op("Shape", [x]), builder.int64s([axis])]);
}

export interface Range {
  readonly absmax: Value; // [batch, heads]
  /** Not finite when any element is not: ReduceMax ignores NaN, a sum does not. */
  readonly sumOfSquares: Value; // [batch]
}

/**
 * The absmax of K or V per prompt and head. Each head's numbers are reduced first and its tokens after that: a
 * reduction over only the last axis runs on all cores and is several times as fast.
 * @param x [batch, tokens, heads, head_dim], or with heads before tokens; padding set to 0
 * @param tokensAxis the axis of the tokens
 */
export function rangeOf({ builder, arithmetic }: GraphContext, x: Value, tokensAxis: 1 | 2 = 1): Range {
  const wide = cast(builder, x, arithmetic.elementType, "float32");
  const reduce = (operator: string, of: Value, axes: readonly number[]) =>
    builder.op(operator, [of, builder.int64s(axes)], { attributes: { keepdims: 0 } });
  const ofVectors = (operator: string, of: Value) => reduce(operator, of, [3]); // [batch, tokens, heads]
  return {
    absmax: reduce("ReduceMax", ofVectors("ReduceMax", builder.op("Abs", [wide])), [tokensAxis]),
    sumOfSquares: reduce("ReduceSum", ofVectors("ReduceSumSquare", wide), [1, 2]),
  };
}
