// The output head over a slice of the vocabulary: final norm, logits, and the sums that perplexity and KL divergence
// need, reduced inside the graph. The caller joins the slices. Logits never leave the graph.

import type { ModelEnd } from "../architectures/description.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { type Arithmetic, FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { softCap } from "./attend.js";
import { type GraphContext, multiplied, multiply } from "./blocks.js";
import { norm } from "./norm.js";
import { cast, GraphWeights, type LocateWeight } from "./weights.js";

/** Names of the inputs and outputs. The first arm is the baseline. */
export const HEAD_VALUES = {
  hidden: "hidden", // [arms, rows, hidden]
  targets: "targets", // int64 [arms, rows, 1]: the token that follows, counted from the slice's first; 0 when outside
  max: "max", // [arms, rows]: largest logit of the slice
  sumExp: "sum_exp", // [arms, rows]: Σ exp(logit − max)
  top: "top", // [arms, rows]: number of the largest logit, counted from the slice's first
  target: "target", // [arms, rows]: logit of the token that follows
  /** Σ exp(baseline's logit − its max) · (baseline's logit − the arm's): the sum in the KL divergence. */
  cross: "cross", // [arms, rows]
} as const;

/** Tokens `start` to `end` of the vocabulary. */
export interface VocabularySlice {
  readonly start: number;
  readonly end: number;
}

/**
 * Builds the graph of a slice.
 * @param arithmetic in float32: rounding logits to 16 bits changes more than what is measured here
 */
export function buildHead(
  end: ModelEnd,
  hiddenSize: number,
  slice: VocabularySlice,
  locate: LocateWeight,
  arithmetic: Arithmetic = FLOAT32_ARITHMETIC,
): Graph {
  const builder = new GraphBuilder();
  const weights = new GraphWeights(builder, locate);
  const hidden = builder.input(HEAD_VALUES.hidden, "float32", ["arms", "rows", hiddenSize]);
  const targets = builder.input(HEAD_VALUES.targets, "int64", ["arms", "rows", 1]);
  const context = { builder, weights, arithmetic };
  const logits = logitsOf(context, end, slice, hidden); // [arms, rows, slice]
  const lastAxis = builder.int64s([-1]);
  const { max, top } = largestLogit(builder, logits, slice); // [arms, rows, 1]
  const exponentials = builder.op("Exp", [builder.op("Sub", [logits, max])]); // [arms, rows, slice]
  const ofBaseline = (x: Value) =>
    builder.op("Slice", [x, builder.int64s([0]), builder.int64s([1]), builder.int64s([0])]); // [1, rows, slice]
  const difference = builder.op("Sub", [ofBaseline(logits), logits]);
  const sum = (x: Value) => builder.op("ReduceSum", [x, lastAxis], { attributes: { keepdims: 0 } });
  const squeeze = (x: Value) => builder.op("Squeeze", [x, lastAxis]);
  const output = (value: Value, name: string) => builder.output(value, name, "float32", ["arms", "rows"]);
  output(squeeze(max), HEAD_VALUES.max);
  output(sum(exponentials), HEAD_VALUES.sumExp);
  output(squeeze(top), HEAD_VALUES.top);
  const target = builder.op("GatherElements", [logits, targets], { attributes: { axis: -1 } });
  output(squeeze(target), HEAD_VALUES.target);
  output(sum(builder.op("Mul", [ofBaseline(exponentials), difference])), HEAD_VALUES.cross);
  return builder.finish();
}

/** Block size of the search for the largest logit. Slices should be a multiple of it. */
export const TOKEN_BLOCK = 64;

/**
 * The largest logit and its number; of equal ones the first. Searches the maximum of each block, then the best block,
 * then the place within that block: on the CPU a search over all logits takes as long as two exponentials of them.
 * @param logits [arms, rows, slice]
 * @returns [arms, rows, 1], both float32
 */
export function largestLogit(
  builder: GraphBuilder,
  logits: Value,
  { start, end }: VocabularySlice,
): { max: Value; top: Value } {
  const keep = { attributes: { axis: -1, keepdims: 1 } };
  const search = (x: Value) => builder.op("ArgMax", [x], keep); // int64 [..., 1]
  const maxOf = (x: Value) => builder.op("ReduceMax", [x, builder.int64s([-1])], { attributes: { keepdims: 1 } });
  const toFloat = (x: Value) => cast(builder, x, "int64", "float32");
  if ((end - start) % TOKEN_BLOCK !== 0) return { max: maxOf(logits), top: toFloat(search(logits)) };
  const blocks = builder.op("Reshape", [logits, builder.int64s([0, 0, -1, TOKEN_BLOCK])]);
  const maxima = builder.op("Squeeze", [maxOf(blocks), builder.int64s([-1])]); // [arms, rows, blocks]
  const block = search(maxima);
  const everywhere = builder.op("Expand", [
    builder.op("Unsqueeze", [block, builder.int64s([-1])]),
    builder.int64s([1, 1, 1, TOKEN_BLOCK]),
  ]);
  const within = builder.op("GatherElements", [blocks, everywhere], { attributes: { axis: 2 } }); // [arms, rows, 1, block]
  const place = builder.op("Squeeze", [search(within), builder.int64s([-1])]);
  const first = builder.op("Mul", [toFloat(block), builder.float32(TOKEN_BLOCK)]);
  return { max: maxOf(maxima), top: builder.op("Add", [first, toFloat(place)]) };
}

/** Logits of a slice. @param hidden float32 [arms, rows, hidden] */
export function logitsOf(
  context: GraphContext,
  { norm: description, head, bias, multiplier, softcap }: ModelEnd,
  { start, end }: VocabularySlice,
  hidden: Value,
): Value {
  const { builder, weights } = context;
  const rows = { kind: "rows", of: head, start, end } as const;
  const products = multiply(context, norm(context, description, hidden), rows); // [arms, rows, slice]
  const biased =
    bias === undefined ? products : builder.op("Add", [products, weights.rows(bias, start, end, "float32")]);
  const scaled = multiplied(context, biased, multiplier);
  return softcap === undefined ? scaled : softCap(builder, scaled, softcap);
}
