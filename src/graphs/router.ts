// The router: which experts a token is sent to, with what weight. Always in float32, as in training: narrower types
// would choose other experts. Knows no expert.

import type { Router, ScoreRouter, SparseMixer } from "../architectures/experts.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import { type GraphContext, multiply } from "./blocks.js";
import { norm } from "./norm.js";
import { cast } from "./weights.js";

export interface Routing {
  /** Numbers of the chosen experts. */
  readonly experts: Value; // int64 [tokens, per_token]
  readonly weights: Value; // float32 [tokens, per_token]
}

/** @param x [tokens, hidden] */
export function route(context: GraphContext, router: Router, x: Value): Routing {
  const logits = logitsOf(context, router, x); // [tokens, experts]
  return router.kind === "scores" ? bestScores(context, router, logits) : sparseMixer(context.builder, router, logits);
}

function logitsOf(context: GraphContext, router: Router, x: Value): Value {
  const { weight, bias } = router.logits;
  const { builder, weights, arithmetic } = context;
  const wide = cast(builder, x, arithmetic.elementType, "float32");
  const float32: GraphContext = { ...context, arithmetic: { ...arithmetic, elementType: "float32" } };
  const logits = multiply(float32, read(float32, router, wide), weight);
  return bias === undefined ? logits : builder.op("Add", [logits, weights.as("float32", bias)]);
}

/** The router's input, made from x. */
function read(context: GraphContext, router: Router, x: Value): Value {
  if (router.kind !== "scores" || router.input === undefined) return x;
  return multiplied(context.builder, norm(context, router.input.norm, x), router.input.multiplier);
}

function bestScores(context: GraphContext, router: ScoreRouter, rawLogits: Value): Routing {
  const { builder } = context;
  const logits = router.softcap === undefined ? rawLogits : softcapped(builder, rawLogits, router.softcap);
  const scores =
    router.score === "softmax"
      ? builder.op("Softmax", [logits], { attributes: { axis: -1 } })
      : builder.op("Sigmoid", [logits]);
  const [, experts] = topK(builder, choosable(context, router, logits, scores), router.perToken);
  const weights = valuesAt(builder, scores, experts);
  const scaled = multiplied(builder, normalised(builder, router, weights), router.multiplier);
  if (router.perExpert === undefined) return { experts, weights: scaled };
  const factors = builder.op("Gather", [context.weights.as("float32", router.perExpert), experts]);
  return { experts, weights: builder.op("Mul", [scaled, factors]) };
}

function softcapped(builder: GraphBuilder, logits: Value, softcap: number): Value {
  const bound = builder.float32(softcap);
  return builder.op("Mul", [builder.op("Tanh", [builder.op("Div", [logits, bound])]), bound]);
}

/**
 * The values whose largest are chosen. Scores rise with logits, but large logits that differ have equal scores in
 * float32.
 */
function choosable(
  { builder, weights }: GraphContext,
  { correction, groups, logits: { outputs } }: ScoreRouter,
  logits: Value,
  scores: Value,
): Value {
  if (correction === undefined && groups === undefined) return logits;
  const corrected = correction === undefined ? scores : builder.op("Add", [scores, weights.as("float32", correction)]);
  return groups === undefined ? corrected : ofBestGroups(builder, corrected, groups, outputs);
}

/** −∞ for the experts of other groups. @param scores [tokens, experts] */
function ofBestGroups(
  builder: GraphBuilder,
  scores: Value,
  { count, chosen }: { readonly count: number; readonly chosen: number },
  experts: number,
): Value {
  const size = experts / count;
  const grouped = builder.op("Reshape", [scores, builder.int64s([-1, count, size])]); // [tokens, groups, size]
  const [bestTwo] = topK(builder, grouped, Math.min(2, size));
  const sums = builder.op("ReduceSum", [bestTwo, builder.int64s([-1])], { attributes: { keepdims: 0 } });
  const [, groups] = topK(builder, sums, chosen); // [tokens, chosen]
  const all = builder.int64s(Array.from({ length: count }, (_, group) => group));
  const places = builder.op("Equal", [builder.op("Unsqueeze", [groups, builder.int64s([2])]), all]);
  const isChosen = builder.op("ReduceMax", [cast(builder, places, "bool", "int32"), builder.int64s([1])], {
    attributes: { keepdims: 0 },
  }); // [tokens, groups]
  const mask = builder.op("Unsqueeze", [cast(builder, isChosen, "int32", "bool"), builder.int64s([2])]);
  const kept = builder.op("Where", [mask, grouped, builder.float32(Number.NEGATIVE_INFINITY)]);
  return builder.op("Reshape", [kept, builder.int64s([-1, experts])]);
}

function normalised(builder: GraphBuilder, { normalised }: ScoreRouter, weights: Value): Value {
  if (normalised === undefined) return weights;
  const { p, epsilon, floor } = normalised;
  const power = (x: Value, exponent: number) =>
    exponent === 1 ? x : builder.op("Pow", [x, builder.float32(exponent)]);
  const last = builder.int64s([-1]);
  const sum = builder.op("ReduceSum", [power(weights, p), last], { attributes: { keepdims: 1 } });
  const norm = builder.op("Add", [power(sum, 1 / p), builder.float32(epsilon)]);
  return builder.op("Div", [weights, builder.op("Max", [norm, builder.float32(floor)])]);
}

function multiplied(builder: GraphBuilder, weights: Value, multiplier: number): Value {
  return multiplier === 1 ? weights : builder.op("Mul", [weights, builder.float32(multiplier)]);
}

function sparseMixer(builder: GraphBuilder, { jitter, logits: { outputs } }: SparseMixer, logits: Value): Routing {
  const [largest, experts] = topK(builder, logits, 2); // [tokens, 2]
  const [first, second] = columns(builder, largest);
  const [firstExpert] = columns(builder, experts);
  const numbers = builder.int64s(Array.from({ length: outputs }, (_, expert) => expert));
  const nothing = builder.float32(Number.NEGATIVE_INFINITY);
  const withoutFirst = builder.op("Where", [builder.op("Equal", [numbers, firstExpert]), nothing, logits]);
  const near = (candidates: Value, best: Value) => {
    const width = builder.op("Max", [builder.op("Abs", [logits]), best]);
    const distance = builder.op("Div", [builder.op("Sub", [best, logits]), width]);
    const isFar = builder.op("Greater", [distance, builder.float32(2 * jitter)]);
    const gates = builder.op("Where", [isFar, nothing, candidates]);
    return valuesAt(builder, builder.op("Softmax", [gates], { attributes: { axis: -1 } }), experts); // [tokens, 2]
  };
  const [ofFirst] = columns(builder, near(logits, first));
  const [, ofSecond] = columns(builder, near(withoutFirst, second));
  return { experts, weights: builder.op("Concat", [ofFirst, ofSecond], { attributes: { axis: -1 } }) };
}

/** The largest along the last axis and their places, the largest first. */
function topK(builder: GraphBuilder, x: Value, count: number): readonly [Value, Value] {
  const attributes = { axis: -1, largest: 1, sorted: 1 };
  return builder.ops("TopK", [x, builder.int64s([count])], 2, { attributes }) as [Value, Value];
}

function valuesAt(builder: GraphBuilder, x: Value, places: Value): Value {
  return builder.op("GatherElements", [x, places], { attributes: { axis: -1 } });
}

/** [tokens, 2] → two of [tokens, 1] */
function columns(builder: GraphBuilder, x: Value): readonly [Value, Value] {
  return builder.ops("Split", [x, builder.int64s([1, 1])], 2, { attributes: { axis: -1 } }) as [Value, Value];
}
