// A mixture of experts: each token is computed by the experts that it is sent to, by no other. Rows are put in the order of
// their experts, cut where one ends, and put back: operators that every provider has. Knows no family by name.

import type { Experts, SharedExpert } from "../architectures/experts.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import { feedForward, type GraphContext, linear } from "./blocks.js";
import { norm } from "./norm.js";
import { type Routing, route } from "./router.js";
import { cast } from "./weights.js";

export interface ExpertsResult {
  readonly output: Value; // [batch, tokens, hidden]
  /** How many tokens each expert computed, padding not counted. */
  readonly tokens: Value; // int64 [experts]
}

/**
 * @param x [batch, tokens, hidden]
 * @param mask 1 for a token, 0 for padding, which no expert computes; [batch, tokens, 1]; without it there is none
 */
export function experts(context: GraphContext, description: Experts, x: Value, mask?: Value): ExpertsResult {
  const { builder } = context;
  const { router, shared } = description;
  const rows = rowsOf(builder, x, router.logits.inputs); // [tokens, hidden]
  const routing = route(context, router, rows);
  const sentTo = mask === undefined ? routing.experts : onlyTokens(context, description, routing.experts, mask);
  const entering = description.norm === undefined ? rows : norm(context, description.norm, rows);
  const { output, tokens } = routed(context, description, entering, { ...routing, experts: sentTo });
  const sum = shared === undefined ? output : builder.op("Add", [output, sharedExpert(context, shared, rows)]);
  return { output: builder.op("Reshape", [sum, builder.op("Shape", [x])]), tokens };
}

/** Sends padding to nobody: the number behind the last expert's. @param chosen int64 [tokens, per_token] */
function onlyTokens({ builder, arithmetic }: GraphContext, { experts }: Experts, chosen: Value, mask: Value): Value {
  const isToken = cast(builder, rowsOf(builder, mask, 1), arithmetic.elementType, "bool"); // [tokens, 1]
  return builder.op("Where", [isToken, chosen, builder.int64s([experts.length])]);
}

/** Σ weight · expert(x). An expert's number beyond the last is nobody, whose rows are zeros. @param x [tokens, hidden] */
function routed(
  context: GraphContext,
  { experts, router: { perToken, logits }, weighted }: Experts,
  x: Value,
  routing: Routing,
): ExpertsResult {
  const { builder, arithmetic } = context;
  const weights = cast(builder, routing.weights, "float32", arithmetic.elementType); // [tokens, per_token]
  const places = builder.op("Reshape", [routing.experts, builder.int64s([-1])]); // [tokens × per_token]
  const { order, inverse } = sortedByExpert(builder, places);
  const rows = builder.op("Gather", [x, builder.op("Div", [order, builder.int64s([perToken])])]);
  const entering =
    weighted === "output"
      ? rows
      : builder.op("Mul", [rows, builder.op("Gather", [rowsOf(builder, weights, 1), order])]);
  const counts = countsOf(builder, places, experts.length + 1);
  const pieces = builder.ops("Split", [entering, counts], experts.length + 1, { attributes: { axis: 0 } });
  const computed = pieces.map((piece, expert) => {
    const description = experts[expert];
    return description === undefined ? zerosLike(context, piece) : feedForward(context, description, piece);
  });
  const sorted = builder.op("Concat", computed, { attributes: { axis: 0 } });
  const back = builder.op("Gather", [sorted, inverse]);
  const perExpert = builder.op("Reshape", [back, builder.int64s([-1, perToken, logits.inputs])]);
  const [tokens] = builder.ops("Split", [counts, builder.int64s([experts.length, 1])], 2, { attributes: { axis: 0 } });
  return { output: summed(context, perExpert, weighted === "output" ? weights : undefined), tokens: tokens as Value };
}

/**
 * Where each row comes from when rows are in the order of their experts, and where it is then. The place is part of the
 * sorted number, so that rows of one expert keep their order: the same input gives the same bytes.
 * @param places the expert of each row
 */
function sortedByExpert(builder: GraphBuilder, places: Value): { readonly order: Value; readonly inverse: Value } {
  const count = builder.op("Shape", [places]); // int64 [1]
  const numbers = builder.op("Range", [builder.int64(0), builder.op("Squeeze", [count]), builder.int64(1)]);
  const keys = builder.op("Add", [builder.op("Mul", [places, count]), numbers]);
  const ascending = (x: Value) => {
    const attributes = { axis: 0, largest: 0, sorted: 1 };
    return builder.ops("TopK", [x, count], 2, { attributes })[1] as Value;
  };
  const order = ascending(keys);
  return { order, inverse: ascending(order) };
}

/** How many rows each of `kinds` experts has. int64 [kinds] */
function countsOf(builder: GraphBuilder, places: Value, kinds: number): Value {
  const numbers = builder.int64s(Array.from({ length: kinds }, (_, expert) => expert));
  const isOf = builder.op("Equal", [builder.op("Unsqueeze", [places, builder.int64s([1])]), numbers]);
  return builder.op("ReduceSum", [cast(builder, isOf, "bool", "int64"), builder.int64s([0])], {
    attributes: { keepdims: 0 },
  });
}

function zerosLike({ builder, arithmetic }: GraphContext, x: Value): Value {
  return cast(builder, builder.op("ConstantOfShape", [builder.op("Shape", [x])]), "float32", arithmetic.elementType);
}

/** @param x [tokens, per_token, hidden] @param weights [tokens, per_token]; 1 each without them */
function summed({ builder }: GraphContext, x: Value, weights: Value | undefined): Value {
  if (weights === undefined) return builder.op("ReduceSum", [x, builder.int64s([1])], { attributes: { keepdims: 0 } });
  const axis = builder.int64s([1]);
  return builder.op("Squeeze", [builder.op("MatMul", [builder.op("Unsqueeze", [weights, axis]), x]), axis]);
}

function sharedExpert(context: GraphContext, { feedForward: description, gate }: SharedExpert, x: Value): Value {
  const { builder } = context;
  const output = feedForward(context, description, x);
  return gate === undefined ? output : builder.op("Mul", [output, builder.op("Sigmoid", [linear(context, gate, x)])]);
}

/** All but the last axis as one. */
function rowsOf(builder: GraphBuilder, x: Value, width: number): Value {
  return builder.op("Reshape", [x, builder.int64s([-1, width])]);
}
