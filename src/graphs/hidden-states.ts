// How hidden states enter and leave a graph: as float32, or as float16 with a scale per token, which halves the bytes
// between two segments and has more significant bits than bfloat16. Knows nothing of layers.

import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import type { Arithmetic, ComputeType } from "./arithmetic.js";
import { cast } from "./weights.js";

/** The form of hidden states between segments. */
export type HiddenType = "float32" | "float16";

export const HIDDEN_VALUES = {
  hidden: "hidden", // [batch, tokens, hidden]
  nextHidden: "next_hidden", // [batch, tokens, hidden]
  /** Only with float16: the absmax of each token, which hidden states are divided by. */
  hiddenScale: "hidden_scale", // float32 [batch, tokens, 1]
  nextHiddenScale: "next_hidden_scale", // float32 [batch, tokens, 1]
} as const;

/** The same four names for another value that crosses in the same form. */
export function namesOfCrossing(name: string): Record<keyof typeof HIDDEN_VALUES, string> {
  return {
    ...{ hidden: name, nextHidden: `next_${name}` },
    ...{ hiddenScale: `${name}_scale`, nextHiddenScale: `next_${name}_scale` },
  };
}

/** The type in which hidden states cross: no wider than the type that is computed in. */
export function hiddenTypeOf({ elementType }: Arithmetic): HiddenType {
  return elementType === "float32" ? "float32" : "float16";
}

/** Reads hidden states, or another value of their form, in the type that the graph computes in. */
export function hiddenInput(
  builder: GraphBuilder,
  arithmetic: Arithmetic,
  size: number,
  name: string = HIDDEN_VALUES.hidden,
): Value {
  const type = hiddenTypeOf(arithmetic);
  const names = namesOfCrossing(name);
  const hidden = builder.input(names.hidden, type, ["batch", "tokens", size]);
  if (type === "float32") return hidden;
  const scale = builder.input(names.hiddenScale, "float32", ["batch", "tokens", 1]);
  const wide = builder.op("Mul", [cast(builder, hidden, type, "float32"), scale]);
  return cast(builder, wide, "float32", arithmetic.elementType);
}

/** The smallest normal float32: dividing by it does not overflow. */
const SMALLEST_SCALE = 2 ** -126;

/** Makes hidden states, or another value of their form, an output. */
export function hiddenOutput(
  builder: GraphBuilder,
  { elementType }: Arithmetic,
  hidden: Value,
  size: number,
  name: string = HIDDEN_VALUES.hidden,
) {
  const shape = ["batch", "tokens", size];
  const names = namesOfCrossing(name);
  if (elementType === "float32") return builder.output(hidden, names.nextHidden, "float32", shape);
  const { scaled, scale } = scaleTokens(builder, hidden, elementType);
  builder.output(cast(builder, scaled, "float32", "float16"), names.nextHidden, "float16", shape);
  builder.output(scale, names.nextHiddenScale, "float32", ["batch", "tokens", 1]);
}

function scaleTokens(builder: GraphBuilder, hidden: Value, type: ComputeType) {
  const wide = cast(builder, hidden, type, "float32");
  const lastAxis = builder.int64s([-1]);
  const absmax = builder.op("ReduceMax", [builder.op("Abs", [wide]), lastAxis], { attributes: { keepdims: 1 } });
  const scale = builder.op("Max", [absmax, builder.float32(SMALLEST_SCALE)]);
  return { scaled: builder.op("Div", [wide, scale]), scale };
}
