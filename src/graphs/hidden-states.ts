// How hidden states enter and leave a graph: as float32, or as float16 with a scale per token, which halves what crosses
// between two segments and keeps more bits of a bfloat16 than it has. Knows nothing of layers.

import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import type { Arithmetic, ComputeType } from "./arithmetic.js";
import { cast } from "./weights.js";

/** What hidden states are between segments. */
export type HiddenType = "float32" | "float16";

export const HIDDEN_VALUES = {
  hidden: "hidden", // [batch, tokens, hidden]
  nextHidden: "next_hidden", // [batch, tokens, hidden]
  /** Of float16 alone: the absmax of each token; hidden states are divided by it. */
  hiddenScale: "hidden_scale", // float32 [batch, tokens, 1]
  nextHiddenScale: "next_hidden_scale", // float32 [batch, tokens, 1]
} as const;

/** What hidden states cross as: no wider than what is computed. */
export function hiddenTypeOf({ elementType }: Arithmetic): HiddenType {
  return elementType === "float32" ? "float32" : "float16";
}

/** Hidden states from outside, in the type that the graph computes in. */
export function hiddenInput(builder: GraphBuilder, arithmetic: Arithmetic, hiddenSize: number): Value {
  const type = hiddenTypeOf(arithmetic);
  const hidden = builder.input(HIDDEN_VALUES.hidden, type, ["batch", "tokens", hiddenSize]);
  if (type === "float32") return hidden;
  const scale = builder.input(HIDDEN_VALUES.hiddenScale, "float32", ["batch", "tokens", 1]);
  const wide = builder.op("Mul", [cast(builder, hidden, type, "float32"), scale]);
  return cast(builder, wide, "float32", arithmetic.elementType);
}

/** Float32 has no smaller normal number: what divides by it does not overflow. */
const SMALLEST_SCALE = 2 ** -126;

/** Gives hidden states out. */
export function hiddenOutput(builder: GraphBuilder, { elementType }: Arithmetic, hidden: Value, hiddenSize: number) {
  const shape = ["batch", "tokens", hiddenSize];
  if (elementType === "float32") return builder.output(hidden, HIDDEN_VALUES.nextHidden, "float32", shape);
  const { scaled, scale } = scaleTokens(builder, hidden, elementType);
  builder.output(cast(builder, scaled, "float32", "float16"), HIDDEN_VALUES.nextHidden, "float16", shape);
  builder.output(scale, HIDDEN_VALUES.nextHiddenScale, "float32", ["batch", "tokens", 1]);
}

function scaleTokens(builder: GraphBuilder, hidden: Value, type: ComputeType) {
  const wide = cast(builder, hidden, type, "float32");
  const lastAxis = builder.int64s([-1]);
  const absmax = builder.op("ReduceMax", [builder.op("Abs", [wide]), lastAxis], { attributes: { keepdims: 1 } });
  const scale = builder.op("Max", [absmax, builder.float32(SMALLEST_SCALE)]);
  return { scaled: builder.op("Div", [wide, scale]), scale };
}
