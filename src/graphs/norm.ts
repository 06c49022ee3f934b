// Every kind of norm: as one fused operator where the arithmetic says so, else unfused. Each takes a description and
// appends nodes. Knows no family by name.

import type { LayerNorm, Norm, RmsNorm } from "../architectures/blocks.js";
import { shapeOf, type WeightSource } from "../architectures/weight-source.js";
import { MICROSOFT_DOMAIN, type Value } from "../onnx/graph-builder.js";
import type { GraphContext } from "./blocks.js";
import { cast } from "./weights.js";

/** The switch: a case per kind of norm. */
export function norm(context: GraphContext, description: Norm, x: Value): Value {
  switch (description.kind) {
    case "rms":
      return rmsNorm(context, description, x);
    case "layer":
      return layerNorm(context, description, x);
  }
}

/** The norm of x + addend, and the sum itself. */
export function normOfSum(
  context: GraphContext,
  description: Norm,
  x: Value,
  addend: Value,
): { readonly sum: Value; readonly normed: Value } {
  const { builder, weights, arithmetic } = context;
  const { weight, epsilon } = description;
  const isOneOperator = description.kind === "rms" && weight !== undefined && !hasOwnArithmetic(description);
  if (arithmetic.norm === "written-out" || !isOneOperator) {
    const sum = builder.op("Add", [x, addend]);
    return { sum, normed: norm(context, description, sum) };
  }
  const inputs = [x, addend, weights.as(arithmetic.elementType, weight)];
  const [normed, , , sum] = builder.ops("SkipSimplifiedLayerNormalization", inputs, 4, {
    domain: MICROSOFT_DOMAIN,
    attributes: { epsilon: { float: epsilon } },
    unused: [1, 2],
  }) as [Value, Value, Value, Value];
  return { sum, normed };
}

/**
 * x / √(mean(x²) + ε) · weight, over the last axis. Unfused unless the arithmetic says otherwise: ONNX Runtime's fused
 * norm adds up the squares one after another in float32, an error that later layers amplify to 1e-5 of a key.
 */
function rmsNorm(context: GraphContext, description: RmsNorm, x: Value): Value {
  const { builder, arithmetic } = context;
  if (isWider(context, description)) return inFloat32(context, x, (wide, y) => rmsNorm(wide, description, y));
  const { weight, size, epsilon, plusOne } = description;
  // The operator needs a weight with one axis.
  const isFused = arithmetic.norm === "fused" && (weight === undefined || isOneAxis(weight));
  if (isFused) {
    const scale = weightOrOne(context, weight, plusOne) ?? onesOf(context, size);
    const attributes = { axis: -1, epsilon: { float: epsilon } };
    return builder.op("SimplifiedLayerNormalization", [x, scale], { attributes });
  }
  const normed = divideByRoot(context, x, epsilon);
  const scale = weightOrOne(context, weight, plusOne);
  return scale === undefined ? normed : builder.op("Mul", [normed, scale]);
}

/**
 * (x − mean) / √(variance + ε) · weight + bias. Unfused for the same reason; the operator computes in its input's type.
 */
function layerNorm(context: GraphContext, description: LayerNorm, x: Value): Value {
  const { builder, weights, arithmetic } = context;
  if (arithmetic.elementType !== "float32") {
    return inFloat32(context, x, (wide, y) => layerNorm(wide, description, y));
  }
  const { weight, bias, size, epsilon, plusOne } = description;
  const shift = bias && weights.as(arithmetic.elementType, bias);
  if (arithmetic.norm === "fused" && [weight, bias].every((source) => source === undefined || isOneAxis(source))) {
    const scale = weightOrOne(context, weight, plusOne) ?? onesOf(context, size);
    const attributes = { axis: -1, epsilon: { float: epsilon } };
    return builder.op("LayerNormalization", [x, scale, ...(shift === undefined ? [] : [shift])], { attributes });
  }
  const mean = builder.op("ReduceMean", [x, builder.int64s([-1])], { attributes: { keepdims: 1 } });
  const normed = divideByRoot(context, builder.op("Sub", [x, mean]), epsilon);
  const scale = weightOrOne(context, weight, plusOne);
  const scaled = scale === undefined ? normed : builder.op("Mul", [normed, scale]);
  return shift === undefined ? scaled : builder.op("Add", [scaled, shift]);
}

/** x / √(mean(x²) + ε) */
function divideByRoot({ builder }: GraphContext, x: Value, epsilon: number): Value {
  const lastAxis = builder.int64s([-1]);
  const meanSquare = builder.op("ReduceMean", [builder.op("Mul", [x, x]), lastAxis], { attributes: { keepdims: 1 } });
  const root = builder.op("Sqrt", [builder.op("Add", [meanSquare, builder.float32(epsilon)])]);
  return builder.op("Mul", [x, builder.op("Reciprocal", [root])]);
}

/** undefined means a weight of 1. */
function weightOrOne(
  { builder, weights, arithmetic }: GraphContext,
  weight: WeightSource | undefined,
  plusOne: true | undefined,
): Value | undefined {
  if (weight === undefined) return undefined;
  const stored = weights.as(arithmetic.elementType, weight);
  return plusOne ? builder.op("Add", [stored, builder.float32(1)]) : stored;
}

function onesOf({ builder, arithmetic }: GraphContext, size: number): Value {
  const ones = builder.op("Expand", [builder.float32(1), builder.int64s([size])]);
  return cast(builder, ones, "float32", arithmetic.elementType);
}

function isOneAxis(source: WeightSource): boolean {
  return shapeOf(source).length === 1;
}

/** Whether the description demands a wider type than the graph computes in. */
function isWider({ arithmetic }: GraphContext, description: RmsNorm): boolean {
  return hasOwnArithmetic(description) && arithmetic.elementType !== "float32";
}

function hasOwnArithmetic({ plusOne, product }: RmsNorm): boolean {
  return plusOne === true || product === "float32";
}

function inFloat32(
  { builder, weights, arithmetic }: GraphContext,
  x: Value,
  record: (wide: GraphContext, x: Value) => Value,
): Value {
  const { elementType } = arithmetic;
  const wide: GraphContext = { builder, weights, arithmetic: { ...arithmetic, elementType: "float32" } };
  return cast(builder, record(wide, cast(builder, x, elementType, "float32")), "float32", elementType);
}
