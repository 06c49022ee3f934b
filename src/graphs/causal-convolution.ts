// A depthwise convolution over tokens that sees no token after its own, alone and behind a projection. Knows no gate, and no
// state that a generator would keep.

import type { Activation, CausalConvolution, ConvolvedProjection } from "../architectures/blocks.js";
import type { Value } from "../onnx/graph-builder.js";
import { activated, besideBfloat16, type GraphContext, linear, multiplied } from "./blocks.js";
import { cast } from "./weights.js";

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

/**
 * activation(convolution(multiplier · projection(x))): what enters a recurrence, and so float32 from the projection on.
 * @param x [batch, tokens, hidden]
 * @returns [batch, tokens, channels], float32
 */
export function convolvedProjection(
  context: GraphContext,
  { activation }: { readonly activation: Activation },
  { projection, convolution }: ConvolvedProjection,
  x: Value,
  multiplier?: number,
): Value {
  const { builder, arithmetic } = context;
  const wide: GraphContext = { ...context, arithmetic: { ...arithmetic, elementType: "float32" } };
  const projected = multiplied(context, linear(context, projection, x), multiplier);
  const widened = cast(builder, projected, arithmetic.elementType, "float32");
  return activated(wide, activation, causalConvolution(wide, widened, convolution));
}
