// The experts of a mixture as batched products: their weights lie one below the other, and every expert gets as many rows as
// the one that most tokens are sent to. On CUDA a product for each expert costs more in starting it than in computing it.
// Knows no family by name.

import type { FeedForward } from "../architectures/blocks.js";
import { blocksOf, type Decoder } from "../architectures/description.js";
import type { Experts } from "../architectures/experts.js";
import { outputsAxis, storedTensor, type WeightSource } from "../architectures/weight-source.js";
import { MICROSOFT_DOMAIN, type Value } from "../onnx/graph-builder.js";
import { type GraphContext, gatedActivation } from "./blocks.js";
import { cast } from "./weights.js";

/** Rows of an expert are a multiple of it: fast kernels need that, and each new number is looked for among them anew. */
const ROW_MULTIPLE = 64;
/** What an activation's numbers are counted in on CUDA: 32 bits with a sign. */
const MOST_NUMBERS = 2 ** 31 - 1;

/**
 * Rows that an expert has room for. An expert has no more rows than a batch has tokens, so batches of as many always fit;
 * where one is sent more, what is computed is not to be used.
 */
export function capacityOf({ experts, router: { logits } }: Experts): number {
  const widest = Math.max(logits.inputs, experts[0]?.up.outputs ?? 0);
  return Math.max(1, Math.floor(MOST_NUMBERS / (experts.length * widest * ROW_MULTIPLE))) * ROW_MULTIPLE;
}

/** Numbers of all activations in memory at the same time, per token of the batch, where all tokens share an expert. */
export function stackedActivations({ experts, router: { logits } }: Experts): number {
  return experts.length * (2 * logits.inputs + 3 * (experts[0]?.up.outputs ?? 0));
}

/** Whether experts can be stacked: gated by one and the same activation, without biases, of one size, stored outputs first. */
export function canBeStacked({ experts, weighted }: Experts): boolean {
  const [first] = experts;
  const isLikeFirst = ({ activation, gate, gateCutoff, up, down }: FeedForward) =>
    typeof activation === "string" &&
    activation === first?.activation &&
    gateCutoff === undefined &&
    up.outputs === first.up.outputs &&
    [gate, up, down].every((linear) => linear && linear.bias === undefined && outputsAxis(linear.weight) === 0);
  return weighted === "output" && experts.every(isLikeFirst);
}

/** Of all layers. */
export function stackableMixtures({ layers }: Pick<Decoder, "layers">): Experts[] {
  const mixtures = layers.flatMap(blocksOf).flatMap((block) => (block.kind === "experts" ? [block] : []));
  return mixtures.filter(canBeStacked);
}

/** Which rows are sent where. */
export interface SentRows {
  /** The expert of each row, in the order of tokens; experts.length for nobody. int64 [rows] */
  readonly places: Value;
  /** Where each row comes from when rows are in the order of their experts, and where it is then. int64 [rows] */
  readonly order: Value;
  readonly inverse: Value;
  /** Rows of each expert. int64 [experts] */
  readonly counts: Value;
}

/**
 * What the experts give, row by row; for nobody's rows it is finite and means nothing.
 * @param x [tokens, hidden]
 * @returns [rows, hidden]
 */
export function stackedExperts(
  context: GraphContext,
  mixture: Experts,
  x: Value,
  { places, order, inverse, counts }: SentRows,
): Value {
  const { builder } = context;
  const number = (value: number) => builder.int64s([value]);
  const op = (operator: string, ...inputs: readonly Value[]) => builder.op(operator, inputs);
  const { experts, router } = mixture;
  const [first] = experts;
  if (first?.gate === undefined) throw new RangeError("experts without a gate cannot be stacked");
  const { inputs: hidden, outputs: width } = first.up;

  // Rows of the expert that has most, rounded up. [1]
  const most = builder.op("ReduceMax", [cast(builder, counts, "int64", "int32"), number(0)], {
    attributes: { keepdims: 1 },
  });
  const steps = op(
    "Div",
    op("Add", cast(builder, most, "int32", "int64"), number(ROW_MULTIPLE - 1)),
    number(ROW_MULTIPLE),
  );
  const rows = op("Min", op("Mul", steps, number(ROW_MULTIPLE)), number(capacityOf(mixture)));
  const starts = builder.op("CumSum", [counts, builder.int64(0)], { attributes: { exclusive: 1 } }); // [experts]

  const slots = op("Range", builder.int64(0), op("Squeeze", rows), builder.int64(1)); // [rows of each]
  const positions = op("Add", op("Unsqueeze", starts, number(1)), slots); // [experts, rows of each]
  const last = op("Sub", builder.op("Shape", [order]), number(1));
  // Slots that an expert does not need hold rows of the next; nobody reads what comes of them.
  const tokens = op("Div", op("Gather", order, op("Min", positions, last)), number(router.perToken));
  const entering = op("Gather", x, tokens); // [experts, rows of each, hidden]

  const product = (value: Value, sources: readonly WeightSource[], outputs: number, inputs: number) => {
    const weight = op("Reshape", stacked(context, sources), builder.int64s([experts.length, outputs, inputs]));
    return builder.op("FusedMatMul", [value, weight], { domain: MICROSOFT_DOMAIN, attributes: { transB: 1 } });
  };
  const gates = experts.flatMap(({ gate }) => gate?.weight ?? []);
  const ups = experts.map(({ up }) => up.weight);
  const downs = experts.map(({ down }) => down.weight);
  const open = product(entering, gates, width, hidden);
  const gated = gatedActivation(context, first, open, product(entering, ups, width, hidden));
  const computed = op("Reshape", product(gated, downs, hidden, width), builder.int64s([-1, hidden]));

  const expert = op("Min", places, number(experts.length - 1));
  const slot = op("Sub", inverse, op("Gather", starts, expert));
  const place = op("Add", op("Mul", expert, rows), op("Min", slot, op("Sub", rows, number(1))));
  return op("Gather", computed, place);
}

/** Matrices one below the other, joined as they are stored. [outputs of all, inputs] */
function stacked({ builder, weights, arithmetic }: GraphContext, sources: readonly WeightSource[]): Value {
  const types = new Set(sources.map((source) => weights.storedType(storedTensor(source).name)));
  const [common = arithmetic.elementType] = types.size === 1 ? types : [];
  const rows = sources.map((source) => weights.as(common, source));
  return cast(builder, builder.op("Concat", rows, { attributes: { axis: 0 } }), common, arithmetic.elementType);
}
