// Gated DeltaNet: a convolution over q, k and v, the gated delta rule, and a norm with a gate over each head. Knows no
// family, and keeps no state for later tokens.

import type { ConvolvedProjection, GatedDeltaNet } from "../architectures/blocks.js";
import type { Value } from "../onnx/graph-builder.js";
import { activated, type GraphContext, linear, mergeHeads, splitHeads } from "./blocks.js";
import { convolvedProjection } from "./causal-convolution.js";
import { linearAttention } from "./linear-attention.js";
import { norm } from "./norm.js";
import { cast } from "./weights.js";

/** Of every implementation of the delta rule: x / √(Σ x² + ε) */
const LENGTH_EPSILON = 1e-6;

/**
 * Everything between the projections is float32, as in engines: decays are multiplied over thousands of tokens.
 * @param x [batch, tokens, hidden]
 * @returns [batch, tokens, hidden]
 */
export function gatedDeltaNet(context: GraphContext, description: GatedDeltaNet, x: Value): Value {
  const { builder, arithmetic } = context;
  const { keyHeads, valueHeads, keyDim, valueDim, query, key, value, gate, output } = description;
  const wide: GraphContext = { ...context, arithmetic: { ...arithmetic, elementType: "float32" } };
  const widened = (y: Value) => cast(builder, y, arithmetic.elementType, "float32");
  const convolved = (part: ConvolvedProjection) => convolvedProjection(context, description, part, x);
  const ofLengthOne = (y: Value) =>
    mergeHeads(builder, toUnitLength(wide, splitHeads(builder, y, keyHeads, keyDim), keyDim));
  const attended = linearAttention(
    wide,
    {
      query: ofLengthOne(convolved(query)),
      key: ofLengthOne(convolved(key)),
      value: convolved(value),
      decay: decayOf(wide, description, widened(linear(context, description.decay, x))),
      beta: betaOf(wide, description, widened(linear(context, description.beta, x))),
    },
    { keyHeads, valueHeads, scale: keyDim ** -0.5 },
  ); // [batch, tokens, value_heads × value_dim]
  const normed = norm(wide, description.norm, splitHeads(builder, attended, valueHeads, valueDim));
  const open = activated(wide, "silu", widened(linear(context, gate, x)));
  const gated = builder.op("Mul", [mergeHeads(builder, normed), open]);
  return linear(context, output, cast(builder, gated, "float32", arithmetic.elementType));
}

/** x / √(Σ x² + ε) over the last axis, which is an RMS norm with another ε and another length. */
function toUnitLength(context: GraphContext, x: Value, size: number): Value {
  const normed = norm(context, { kind: "rms", size, epsilon: LENGTH_EPSILON / size }, x);
  return context.builder.op("Mul", [normed, context.builder.float32(size ** -0.5)]);
}

/** −exp(log_rate) · softplus(x + bias) */
function decayOf({ builder, weights }: GraphContext, description: GatedDeltaNet, x: Value): Value {
  const rate = builder.op("Exp", [weights.as("float32", description.decayLogRate)]);
  const biased = builder.op("Add", [x, weights.as("float32", description.decayBias)]);
  return builder.op("Neg", [builder.op("Mul", [builder.op("Softplus", [biased]), rate])]);
}

function betaOf({ builder }: GraphContext, { betaMultiplier }: GatedDeltaNet, x: Value): Value {
  const beta = builder.op("Sigmoid", [x]);
  return betaMultiplier === undefined ? beta : builder.op("Mul", [beta, builder.float32(betaMultiplier)]);
}
