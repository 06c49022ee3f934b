// Mamba-2: convolutions over x, b and c, the recurrence, and a gate with or without a norm. Knows no family, and keeps no
// state for later tokens.

import type { GroupedNorm, StateSpace } from "../architectures/state-space.js";
import type { Value } from "../onnx/graph-builder.js";
import { activated, type GraphContext, linear, mergeHeads, multiplied, splitHeads } from "./blocks.js";
import { convolvedProjection } from "./causal-convolution.js";
import { linearAttention } from "./linear-attention.js";
import { norm } from "./norm.js";
import { cast } from "./weights.js";

/**
 * What is between the convolutions and the output projection is float32, as in engines: decays are multiplied over
 * thousands of tokens. The recurrence is linear attention with c as queries, b as keys and Δx as values.
 * @param u [batch, tokens, hidden]
 * @returns [batch, tokens, hidden]
 */
export function stateSpace(context: GraphContext, description: StateSpace, u: Value): Value {
  const { builder, weights, arithmetic } = context;
  const { heads, headDim, groups, multipliers, output } = description;
  const wide: GraphContext = { ...context, arithmetic: { ...arithmetic, elementType: "float32" } };
  const widened = (y: Value) => cast(builder, y, arithmetic.elementType, "float32");
  const convolved = (part: "x" | "b" | "c") =>
    convolvedProjection(context, description, description[part], u, multipliers?.[part]);
  const projected = (part: "timeStep" | "gate") =>
    widened(multiplied(context, linear(context, description[part], u), multipliers?.[part]));

  const timeStep = timeStepOf(wide, description, projected("timeStep")); // [batch, tokens, heads]
  const rate = builder.op("Neg", [builder.op("Exp", [weights.as("float32", description.decayLogRate)])]);
  const x = splitHeads(builder, convolved("x"), heads, headDim);
  const perHead = builder.op("Unsqueeze", [timeStep, builder.int64s([-1])]);
  const attended = linearAttention(
    wide,
    {
      query: convolved("c"),
      key: convolved("b"),
      value: mergeHeads(builder, builder.op("Mul", [x, perHead])),
      decay: builder.op("Mul", [timeStep, rate]),
    },
    { keyHeads: groups, valueHeads: heads, scale: 1 },
  ); // [batch, tokens, heads × head_dim]
  const skip = builder.op("Unsqueeze", [weights.as("float32", description.skip), builder.int64s([-1])]);
  const skipped = mergeHeads(builder, builder.op("Mul", [x, skip]));
  const y = gated(wide, description, builder.op("Add", [attended, skipped]), projected("gate"));
  return linear(context, output, cast(builder, y, "float32", arithmetic.elementType));
}

/** softplus(x + bias), clamped */
function timeStepOf(
  { builder, weights }: GraphContext,
  { timeStepBias, timeStepLimits: limits }: StateSpace,
  x: Value,
): Value {
  const biased = builder.op("Add", [x, weights.as("float32", timeStepBias)]);
  const timeStep = builder.op("Softplus", [biased]);
  if (limits === undefined) return timeStep;
  const raised = builder.op("Max", [timeStep, builder.float32(limits.least)]);
  return limits.most === undefined ? raised : builder.op("Min", [raised, builder.float32(limits.most)]);
}

/** norm(y · silu(gate)), norm(y) · silu(gate), or y · silu(gate) */
function gated(context: GraphContext, { norm: description, heads, headDim }: StateSpace, y: Value, gate: Value): Value {
  const open = activated(context, "silu", gate);
  const multiply = (value: Value) => context.builder.op("Mul", [value, open]);
  if (description === undefined) return multiply(y);
  const normed = (value: Value) => groupedNorm(context, description, heads * headDim, value);
  return description.when === "before-gate" ? multiply(normed(y)) : normed(multiply(y));
}

function groupedNorm(context: GraphContext, { weight, groups, epsilon }: GroupedNorm, width: number, y: Value): Value {
  const { builder, weights } = context;
  const size = width / groups;
  const normed = norm(context, { kind: "rms", size, epsilon }, splitHeads(builder, y, groups, size));
  return builder.op("Mul", [mergeHeads(builder, normed), weights.as("float32", weight)]);
}
