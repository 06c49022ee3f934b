// Mamba-1: a convolution over x, the selective scan with a decay for each channel and number of its state, and a gate.
// Knows no family, and keeps no state for later tokens.

import type { NormedProjection, SelectiveScan } from "../architectures/state-space.js";
import type { WeightSource } from "../architectures/weight-source.js";
import type { Value } from "../onnx/graph-builder.js";
import { activated, type GraphContext, linear, mergeHeads } from "./blocks.js";
import { convolvedProjection } from "./causal-convolution.js";
import { linearAttention } from "./linear-attention.js";
import { norm } from "./norm.js";
import { cast } from "./weights.js";

/**
 * The scan is float32, as in engines.
 * @param u [batch, tokens, hidden]
 * @returns [batch, tokens, hidden]
 */
export function selectiveScan(context: GraphContext, description: SelectiveScan, u: Value): Value {
  const { builder, weights, arithmetic } = context;
  const wide: GraphContext = { ...context, arithmetic: { ...arithmetic, elementType: "float32" } };
  const widened = (y: Value) => cast(builder, y, arithmetic.elementType, "float32");
  const x = convolvedProjection(context, description, description.x, u); // [batch, tokens, channels]
  const narrowX = cast(builder, x, "float32", arithmetic.elementType);
  const normed = ({ projection, norm: of }: NormedProjection) =>
    norm(context, of, linear(context, projection, narrowX));

  const rawStep = linear(context, description.timeStep, normed(description.timeStepInput));
  const timeStep = builder.op("Softplus", [widened(rawStep)]); // [batch, tokens, channels]
  const [key, query] = [widened(normed(description.b)), widened(normed(description.c))];
  const scanned = scanInGroups(wide, description, { timeStep, value: builder.op("Mul", [timeStep, x]), key, query });
  const skipped = builder.op("Mul", [x, weights.as("float32", description.skip)]);
  const open = activated(wide, "silu", widened(linear(context, description.gate, u)));
  const y = builder.op("Mul", [builder.op("Add", [scanned, skipped]), open]);
  return linear(context, description.output, cast(builder, y, "float32", arithmetic.elementType));
}

interface ScanInputs {
  readonly timeStep: Value; // [batch, tokens, channels]
  readonly value: Value; // [batch, tokens, channels]
  readonly key: Value; // [batch, tokens, state_size]
  readonly query: Value; // [batch, tokens, state_size]
}

/**
 * The scan as linear attention in which each channel is a head of one value, and all share their key and query. A token has
 * a decay for each number of each state, which would be state_size times as wide as anything else. So channels are taken in
 * groups, whose decays are as wide as all channels.
 */
function scanInGroups(
  context: GraphContext,
  { channels, b, decayLogRate }: SelectiveScan,
  { timeStep, value, key, query }: ScanInputs,
): Value {
  const { builder, weights } = context;
  const sizes = groupsOfChannels(channels, b.projection.outputs);
  const split = (of: Value) =>
    builder.ops("Split", [of, builder.int64s(sizes)], sizes.length, { attributes: { axis: 2 } });
  const [timeSteps, values] = [split(timeStep), split(value)];
  const scanned = sizes.map((size, group) => {
    const start = group * (sizes[0] ?? 0);
    const of: WeightSource = { kind: "rows", of: decayLogRate, start, end: start + size };
    const rate = builder.op("Neg", [builder.op("Exp", [weights.as("float32", of)])]); // [size, state_size]
    const steps = builder.op("Unsqueeze", [timeSteps[group] as Value, builder.int64s([-1])]); // [batch, tokens, size, 1]
    const decay = mergeHeads(builder, builder.op("Mul", [steps, rate])); // [batch, tokens, size × state_size]
    const inputs = { query, key, value: values[group] as Value, decay };
    return linearAttention(context, inputs, { keyHeads: 1, valueHeads: size, scale: 1 });
  });
  return builder.op("Concat", scanned, { attributes: { axis: 2 } });
}

/** As many groups as numbers in a state, the last one smaller where channels do not divide. */
function groupsOfChannels(channels: number, stateSize: number): number[] {
  const size = Math.ceil(channels / stateSize);
  const whole = Math.floor(channels / size);
  const rest = channels - whole * size;
  return [...Array.from({ length: whole }, () => size), ...(rest === 0 ? [] : [rest])];
}
