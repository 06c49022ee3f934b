// The gated short convolution of LFM2: a block in place of attention that mixes a token with the few before it. Knows
// no state that a generator would keep.

import type { ShortConvolution } from "../architectures/blocks.js";
import type { Value } from "../onnx/graph-builder.js";
import { type GraphContext, linear } from "./blocks.js";
import { causalConvolution } from "./causal-convolution.js";

/**
 * output(gateBehind(x) · convolution(gateBefore(x) · input(x)))
 * @param x [batch, tokens, hidden]; padding is behind a prompt, where no token of the prompt sees it
 */
export function shortConvolution(
  context: GraphContext,
  { gateBefore, input, convolution, gateBehind, output }: ShortConvolution,
  x: Value,
): Value {
  const { builder } = context;
  const opened = builder.op("Mul", [linear(context, gateBefore, x), linear(context, input, x)]);
  const mixed = causalConvolution(context, opened, convolution); // [batch, tokens, channels]
  return linear(context, output, builder.op("Mul", [linear(context, gateBehind, x), mixed]));
}
