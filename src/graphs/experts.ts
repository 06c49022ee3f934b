// A mixture of experts: each token is computed by the experts that it is sent to, by no other. Rows are put in the order of
// their experts, cut where one ends, and put back: operators that every provider has. Knows no family by name.

import type { Experts, SharedExpert } from "../architectures/experts.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import { feedForward, type GraphContext, linear, multiply, withBias } from "./blocks.js";
import { norm } from "./norm.js";
import { type Routing, route } from "./router.js";
import type { IndexRange } from "./segment-parts.js";
import { canBeStacked, type SentRows, stackedExperts } from "./stacked-experts.js";
import { cast } from "./weights.js";

export interface ExpertsResult {
  readonly output: Value; // [batch, tokens, hidden]
  /** How many tokens each expert computed, padding not counted. */
  readonly tokens: Value; // int64 [experts]
}

export interface ExpertsOptions {
  /** 1 for a token, 0 for padding, which no expert computes; [batch, tokens, 1]; without it there is none. */
  readonly mask?: Value;
  /** Experts before this one are computed elsewhere. */
  readonly start?: number;
  /** What those have given. [batch, tokens, hidden] */
  readonly before?: Value;
}

/** @param x [batch, tokens, hidden] */
export function experts(
  context: GraphContext,
  description: Experts,
  x: Value,
  { start = 0, ...options }: ExpertsOptions = {},
): ExpertsResult {
  const { latent, shared, experts } = description;
  const { output, tokens } = expertSum(context, description, x, { start, end: experts.length }, options);
  const biased = latent === undefined ? output : withBias(context, latent.out, output);
  if (shared === undefined) return { output: biased, tokens };
  return { output: context.builder.op("Add", [biased, sharedExpert(context, shared, x)]), tokens };
}

/** Σ weight · expert(x) over some of the experts, and what those before them have given. @param x [batch, tokens, hidden] */
export function expertSum(
  context: GraphContext,
  description: Experts,
  x: Value,
  range: IndexRange,
  { mask, before }: Omit<ExpertsOptions, "start">,
): ExpertsResult {
  const { builder } = context;
  const { router } = description;
  const rows = rowsOf(builder, x, router.logits.inputs); // [tokens, hidden]
  const { experts: chosen, weights } = route(context, router, rows);
  const { latent } = description;
  const normed = description.norm === undefined ? rows : norm(context, description.norm, rows);
  const entering = latent === undefined ? normed : linear(context, latent.into, normed);
  const sentTo = sentWithin(context, description, chosen, range, mask);
  const { output, tokens } = routed(context, description, entering, range, { experts: sentTo, weights });
  // Some experts alone give their part of the product; its bias is added once.
  const leaving = latent === undefined ? output : multiply(context, output, latent.out.weight);
  const sum = builder.op("Reshape", [leaving, builder.op("Shape", [x])]);
  return { output: before === undefined ? sum : builder.op("Add", [before, sum]), tokens };
}

/**
 * Numbers of the chosen experts among those that are computed here; padding, and what is computed elsewhere, is sent to
 * nobody: the number behind the last.
 * @param chosen int64 [tokens, per_token]
 */
function sentWithin(
  { builder, arithmetic }: GraphContext,
  { experts }: Experts,
  chosen: Value,
  { start, end }: IndexRange,
  mask: Value | undefined,
): Value {
  const isToken = mask && cast(builder, rowsOf(builder, mask, 1), arithmetic.elementType, "bool"); // [tokens, 1]
  const isLater = start > 0 && builder.op("GreaterOrEqual", [chosen, builder.int64s([start])]);
  const isEarlier = end < experts.length && builder.op("Less", [chosen, builder.int64s([end])]);
  const conditions = [isToken, isLater, isEarlier].filter(
    (condition) => condition !== undefined && condition !== false,
  );
  const [first, ...others] = conditions;
  if (first === undefined) return chosen;
  const isHere = others.reduce((both, condition) => builder.op("And", [both, condition]), first);
  const numbers = start === 0 ? chosen : builder.op("Sub", [chosen, builder.int64s([start])]);
  return builder.op("Where", [isHere, numbers, builder.int64s([end - start])]);
}

/**
 * Σ weight · expert(x). What is sent to nobody gives zeros, or numbers that nobody reads. @param x [tokens, hidden], or in
 * the latent space
 */
function routed(
  context: GraphContext,
  description: Experts,
  x: Value,
  { start, end }: IndexRange,
  routing: Routing,
): ExpertsResult {
  const { builder, arithmetic } = context;
  const { router, weighted, latent } = description;
  const { perToken, logits } = router;
  const width = latent?.into.outputs ?? logits.inputs;
  const here = { ...description, experts: description.experts.slice(start, end) };
  const weights = cast(builder, routing.weights, "float32", arithmetic.elementType); // [tokens, per_token]
  const places = builder.op("Reshape", [routing.experts, builder.int64s([-1])]); // [tokens × per_token]
  const sent: SentRows = {
    ...{ places, ...sortedByExpert(builder, places) },
    counts: countsOf(builder, places, here.experts.length),
  };
  // Of some experts alone, most rows are nobody's.
  const isStacked = arithmetic.experts === "stacked" && here.experts.length === logits.outputs && canBeStacked(here);
  const rows = isStacked
    ? stackedExperts(context, here, x, sent)
    : oneByOne(context, here, x, sent, rowsOf(builder, weights, 1));
  const perExpert = builder.op("Reshape", [rows, builder.int64s([-1, perToken, width])]);
  return { output: summed(context, perExpert, weighted === "output" ? weights : undefined), tokens: sent.counts };
}

/** Each expert computes its rows. @param weights [rows, 1] @returns [rows, hidden]; zeros for nobody's */
function oneByOne(
  context: GraphContext,
  { experts, router: { perToken, logits }, latent, weighted }: Experts,
  x: Value,
  { order, inverse, counts }: SentRows,
  weights: Value,
): Value {
  const { builder, arithmetic } = context;
  const count = builder.op("ReduceSum", [counts, builder.int64s([0])], { attributes: { keepdims: 1 } }); // [1]
  const sent = builder.op("Slice", [order, builder.int64s([0]), count]); // those of nobody come last
  const rows = builder.op("Gather", [x, builder.op("Div", [sent, builder.int64s([perToken])])]);
  const entering = weighted === "output" ? rows : builder.op("Mul", [rows, builder.op("Gather", [weights, sent])]);
  const pieces = builder.ops("Split", [entering, counts], experts.length, { attributes: { axis: 0 } });
  const computed = experts.map((expert, number) => feedForward(context, expert, pieces[number] as Value));
  const zeros = builder.op("ConstantOfShape", [builder.int64s([1, latent?.into.outputs ?? logits.inputs])]);
  const sorted = builder.op("Concat", [...computed, cast(builder, zeros, "float32", arithmetic.elementType)], {
    attributes: { axis: 0 },
  });
  return builder.op("Gather", [sorted, builder.op("Min", [inverse, count])]);
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
