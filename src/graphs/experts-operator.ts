// The experts of a token through ONNX Runtime's own operator, MoE: several times as fast on CUDA as rows that are sorted.
// It computes in float16 there, since what it gives in bfloat16 is wrong (measured: 1.30). Knows no family by name.

import type { GatedFeedForward } from "../architectures/description.js";
import type { Experts } from "../architectures/experts.js";
import { MICROSOFT_DOMAIN, NONE, type Value } from "../onnx/graph-builder.js";
import type { GraphContext } from "./blocks.js";
import type { Routing } from "./router.js";
import { cast } from "./weights.js";

/** What the operator takes the logarithm of a weight for, where the router did not choose an expert. */
const NOT_CHOSEN = -60_000;
/** No weight is so small in float32 that its logarithm is below this. */
const LEAST_LOGARITHM = -1_000;

/** Whether the operator computes such experts: it knows one gate, and weights of what comes out. */
export function fitsOperator({ experts, weighted }: Experts): boolean {
  const isPlain = ({ activation, gate, up, down }: GatedFeedForward) =>
    activation === "silu" && [gate, up, down].every(({ bias }) => bias === undefined);
  return weighted === "output" && experts.every(isPlain);
}

/**
 * Σ weight · expert(x). The operator has a softmax over the logits of the chosen experts; given the logarithms of their
 * weights, that is each weight over the sum of them, which multiplies its output again.
 * @param x [tokens, hidden]
 */
export function expertsByOperator(
  context: GraphContext,
  { experts, router: { perToken } }: Experts,
  x: Value,
  { experts: chosen, weights }: Routing,
): Value {
  const { builder, arithmetic } = context;
  const [first] = experts;
  if (first === undefined) throw new Error("a mixture has at least one expert");
  const tokens = builder.op("Gather", [builder.op("Shape", [x]), builder.int64s([0])]);
  const size = builder.op("Concat", [tokens, builder.int64s([experts.length])], { attributes: { axis: 0 } });
  const none = builder.op("Expand", [builder.float32(NOT_CHOSEN), size]); // [tokens, experts]
  // A softmax does not see what all logits have in common; near 0 float16 holds them best.
  const largest = builder.op("ReduceMax", [weights, builder.int64s([-1])], { attributes: { keepdims: 1 } });
  const ratios = builder.op("Log", [builder.op("Div", [weights, largest])]);
  const logarithms = builder.op("Max", [ratios, builder.float32(LEAST_LOGARITHM)]);
  const logits = builder.op("ScatterElements", [none, chosen, logarithms], { attributes: { axis: 1 } });
  const { inputs: hidden, outputs: width } = first.gate;
  // Gate above up is how the operator wants the two in one matrix (swiglu_fusion 2; measured).
  const opening = experts.flatMap(({ up, gate }) => [gate.weight, up.weight]);
  const openingWeights = stacked(context, opening, [experts.length, 2 * width, hidden]);
  const closing = stacked(
    context,
    experts.map(({ down }) => down.weight),
    [experts.length, hidden, width],
  );
  const computed = builder.op(
    "MoE",
    [
      cast(builder, x, arithmetic.elementType, "float16"),
      cast(builder, logits, "float32", "float16"),
      openingWeights,
      NONE,
      closing,
    ],
    {
      domain: MICROSOFT_DOMAIN,
      attributes: {
        k: perToken,
        activation_type: "swiglu",
        swiglu_fusion: 2,
        activation_alpha: { float: 1 },
        activation_beta: { float: 0 },
        normalize_routing_weights: 1,
      },
    },
  );
  const sum = builder.op("ReduceSum", [weights, builder.int64s([-1])], { attributes: { keepdims: 1 } });
  const scaled = builder.op("Mul", [cast(builder, computed, "float16", "float32"), sum]);
  return cast(builder, scaled, "float32", arithmetic.elementType);
}

/** Matrices one below the other, as they are stored, then as the operator wants them. */
function stacked({ builder, weights }: GraphContext, names: readonly string[], shape: readonly number[]): Value {
  const [first = ""] = names;
  const rows = builder.op(
    "Concat",
    names.map((name) => weights.stored(name)),
    { attributes: { axis: 0 } },
  );
  return cast(builder, builder.op("Reshape", [rows, builder.int64s(shape)]), weights.storedType(first), "float16");
}
