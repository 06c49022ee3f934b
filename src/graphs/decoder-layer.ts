// A decoder layer, whatever its attention reads and gives out: norm, attention, norm, feed-forward, and the residual stream
// past both. Knows neither segments nor steps nor caches.

import type { DecoderLayer, RmsNorm } from "../architectures/description.js";
import type { Value } from "../onnx/graph-builder.js";
import { type GraphContext, gatedFeedForward, normOfSum, rmsNorm } from "./blocks.js";

/** Hidden states between two blocks: what the last block adds is kept apart until a norm reads the sum. */
export interface ResidualStream {
  readonly hidden: Value; // [batch, tokens, hidden]
  readonly addend?: Value; // [batch, tokens, hidden]
}

/**
 * Appends a layer.
 * @param attend attention over the layer's normed input; what it gives beside its output is handed on
 */
export function decoderLayer<Attended extends { readonly output: Value }>(
  context: GraphContext,
  layer: DecoderLayer,
  stream: ResidualStream,
  attend: (normed: Value) => Attended,
): { readonly next: ResidualStream; readonly attended: Attended } {
  const { sum: hidden, normed } = normOfStream(context, layer.inputNorm, stream);
  const attended = attend(normed);
  const { sum, normed: entering } = normOfSum(context, layer.feedForwardNorm, hidden, attended.output);
  return { next: { hidden: sum, addend: gatedFeedForward(context, layer.feedForward, entering) }, attended };
}

/** The next block's input, and the sum that goes on beside it. */
export function normOfStream(
  context: GraphContext,
  norm: RmsNorm,
  { hidden, addend }: ResidualStream,
): { readonly sum: Value; readonly normed: Value } {
  if (addend === undefined) return { sum: hidden, normed: rmsNorm(context, norm, hidden) };
  return normOfSum(context, norm, hidden, addend);
}

/** The hidden states behind the last block. [batch, tokens, hidden] */
export function sumOfStream({ builder }: GraphContext, { hidden, addend }: ResidualStream): Value {
  return addend === undefined ? hidden : builder.op("Add", [hidden, addend]);
}
