// The output head for greedy decoding, over a slice of the vocabulary: final norm, logits, the largest logit and its
// token. Logits never leave the graph; the caller joins the slices.

import type { ModelEnd } from "../architectures/description.js";
import { GraphBuilder, type Value } from "../onnx/graph-builder.js";
import type { Graph } from "../onnx/model-proto.js";
import { FLOAT32_ARITHMETIC } from "./arithmetic.js";
import { largestLogit, logitsOf, type VocabularySlice } from "./head.js";
import { GraphWeights, type LocateWeight } from "./weights.js";

export const GREEDY_HEAD_VALUES = {
  hidden: "hidden", // [1, rows, hidden]
  max: "max", // [1, rows]: largest logit of the slice
  top: "top", // [1, rows]: its number, counted from the slice's first; of equal ones the lowest
} as const;

/** Builds the graph of a slice. */
export function buildGreedyHead(
  end: ModelEnd,
  hiddenSize: number,
  slice: VocabularySlice,
  locate: LocateWeight,
): Graph {
  const builder = new GraphBuilder();
  const context = { builder, weights: new GraphWeights(builder, locate), arithmetic: FLOAT32_ARITHMETIC };
  const hidden = builder.input(GREEDY_HEAD_VALUES.hidden, "float32", [1, "rows", hiddenSize]);
  const logits = logitsOf(context, end, slice, hidden); // [1, rows, slice]
  const { max, top } = largestLogit(builder, logits, slice); // [1, rows, 1]
  const output = (value: Value, name: string) =>
    builder.output(builder.op("Squeeze", [value, builder.int64s([-1])]), name, "float32", [1, "rows"]);
  output(max, GREEDY_HEAD_VALUES.max);
  output(top, GREEDY_HEAD_VALUES.top);
  return builder.finish();
}
