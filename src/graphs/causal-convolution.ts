// A depthwise convolution over tokens that sees no token after its own. Knows no activation, no gate, and no state
// that a generator would keep.

import type { CausalConvolution } from "../architectures/blocks.js";
import type { Value } from "../onnx/graph-builder.js";
import { besideBfloat16, type GraphContext } from "./blocks.js";

/**
 * y[t, c] = bias[c] + Σₖ weight[c, 0, k] · x[t − (kernel − 1) + k, c], where x before the first token is 0.
 * @param x [batch, tokens, channels]
 * @returns [batch, tokens, channels]
 */
export function causalConvolution(
  context: GraphContext,
  x: Value,
  { weight, bias, channels, kernel }: CausalConvolution,
): Value {
  const { builder, weights } = context;
  const swapped = (value: Value) => builder.op("Transpose", [value], { attributes: { perm: [0, 2, 1] } });
  return besideBfloat16(context, x, (wide, type) => {
    const sources = [weight, ...(bias === undefined ? [] : [bias])].map((source) => weights.as(type, source));
    const y = builder.op("Conv", [swapped(wide), ...sources], {
      attributes: { group: channels, kernel_shape: [kernel], pads: [kernel - 1, 0] },
    }); // [batch, channels, tokens]
    return swapped(y);
  });
}
