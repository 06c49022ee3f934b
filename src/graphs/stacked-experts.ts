// The experts of a mixture as batched products: their weights lie one below the other, and the rows of each expert are cut
// into blocks of one size. On CUDA a product for each expert costs more in starting it than in computing it. Knows no family
// by name.

import type { FeedForward, Linear } from "../architectures/blocks.js";
import { blocksOf, type Decoder } from "../architectures/description.js";
import type { Experts } from "../architectures/experts.js";
import { outputsAxis, type WeightSource, wholeOf } from "../architectures/weight-source.js";
import { MICROSOFT_DOMAIN, type Value } from "../onnx/graph-builder.js";
import { type GraphContext, gatedActivation } from "./blocks.js";
import { cast } from "./weights.js";

/** Rows of a block are a multiple of it: fast kernels need that, and each new number is looked for among them anew. */
const ROW_MULTIPLE = 64;
/** Rows in memory for a row that is sent to an expert, at most: all first blocks, and as many others as can be filled. */
const ROWS_PER_ROW = 2;
/** Copies of a mixture's weights in memory, at most: the stack, and those of further blocks. */
export const STACKED_COPIES = 2;
/** What an activation's numbers are counted in on CUDA: 32 bits with a sign. */
const MOST_NUMBERS = 2 ** 31 - 1;

/** How many tokens a batch may have: none of its activations may have more numbers than can be counted. */
export function stackedTokens({ experts, router: { logits, perToken } }: Experts): number {
  const widest = Math.max(logits.inputs, experts[0]?.up.outputs ?? 0);
  const rows = MOST_NUMBERS / widest - experts.length * ROW_MULTIPLE;
  return Math.max(1, Math.floor(rows / (ROWS_PER_ROW * perToken)));
}

/** Numbers of all activations in memory at the same time, per token of the batch. */
export function stackedActivations({ experts, router: { logits, perToken } }: Experts): number {
  return ROWS_PER_ROW * perToken * (2 * logits.inputs + 3 * (experts[0]?.up.outputs ?? 0));
}

/** Whether experts can be stacked: gated by one and the same activation, without biases, of one size, stored outputs first. */
export function canBeStacked({ experts, weighted }: Experts): boolean {
  const [first] = experts;
  const isLikeFirst = ({ activation, gate, gateMultiplier, gateCutoff, up, down }: FeedForward) =>
    typeof activation === "string" &&
    activation === first?.activation &&
    gateMultiplier === undefined &&
    gateCutoff === undefined &&
    up.outputs === first.up.outputs &&
    [gate, up, down].every((linear) => linear && linear.bias === undefined && outputsAxis(linear.weight) === 0);
  const numbers = experts.length * (first === undefined ? 0 : first.up.inputs * first.up.outputs);
  return weighted === "output" && numbers <= MOST_NUMBERS && experts.every(isLikeFirst);
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

/** The rows of experts in blocks of one size. Each expert has a first block, and further ones where it has more rows. */
interface Blocks {
  /** Rows of a block: as many as an expert has on average, rounded up. int64 [1] */
  readonly size: Value;
  /** The first row of each expert, in the order of experts. int64 [experts] */
  readonly starts: Value;
  /** Further blocks of the experts before each. int64 [experts] */
  readonly furtherBefore: Value;
  /** Number of further blocks: at least one, since a product of none ends the process. int64 [1] */
  readonly furtherCount: Value;
  /** The expert of each further block, and the first of its rows. int64 [further blocks] */
  readonly owners: Value;
  readonly furtherStarts: Value;
}

type Operation = (operator: string, ...inputs: readonly Value[]) => Value;

/** Cuts the rows into blocks. */
function blocksOfRows({ builder }: GraphContext, op: Operation, experts: number, { order, counts }: SentRows): Blocks {
  const number = (value: number) => builder.int64s([value]);
  const perPart = experts * ROW_MULTIPLE;
  const parts = op("Div", op("Add", op("Shape", order), number(perPart - 1)), number(perPart));
  const size = op("Mul", parts, number(ROW_MULTIPLE));
  const starts = builder.op("CumSum", [counts, builder.int64(0)], { attributes: { exclusive: 1 } });
  const further = op("Div", op("Max", op("Sub", counts, number(1)), number(0)), size); // [experts]
  const ends = op("CumSum", further, builder.int64(0)); // [experts]
  const furtherBefore = op("Sub", ends, further);
  const furtherCount = op("Max", op("Gather", ends, number(experts - 1)), number(1));
  const blocks = op("Range", builder.int64(0), op("Squeeze", furtherCount), builder.int64(1));
  const isBehind = op("GreaterOrEqual", op("Unsqueeze", blocks, number(1)), ends); // [further blocks, experts]
  const expertsBefore = builder.op("ReduceSum", [cast(builder, isBehind, "bool", "int64"), number(1)], {
    attributes: { keepdims: 0 },
  });
  const owners = op("Min", expertsBefore, number(experts - 1));
  const ordinals = op("Add", op("Sub", blocks, op("Gather", furtherBefore, owners)), number(1));
  const furtherStarts = op("Add", op("Gather", starts, owners), op("Mul", ordinals, size));
  return { size, starts, furtherBefore, furtherCount, owners, furtherStarts };
}

/**
 * What the experts give, row by row; for nobody's rows it is finite and means nothing. The first blocks of all experts are one
 * product with the stack of their weights; each further block is multiplied with a copy of its expert's.
 * @param x [tokens, hidden]
 * @returns [rows, hidden]
 */
export function stackedExperts(context: GraphContext, mixture: Experts, x: Value, sent: SentRows): Value {
  const { builder } = context;
  const number = (value: number) => builder.int64s([value]);
  const op: Operation = (operator, ...inputs) => builder.op(operator, inputs);
  const { experts, router } = mixture;
  const [first] = experts;
  if (first?.gate === undefined) throw new RangeError("experts without a gate cannot be stacked");
  const { inputs: hidden, outputs: width } = first.up;
  const blocks = blocksOfRows(context, op, experts.length, sent);

  const { size } = blocks;
  const slots = op("Range", builder.int64(0), op("Squeeze", size), builder.int64(1)); // [rows of a block]
  const tokens = op("Div", sent.order, number(router.perToken));
  const last = op("Sub", op("Shape", sent.order), number(1));
  // Slots that a block does not need hold rows of the next expert; nobody reads what comes of them.
  const rowsFrom = (starts: Value) => {
    const positions = op("Add", op("Unsqueeze", starts, number(1)), slots); // [blocks, rows of a block]
    return op("Gather", x, op("Gather", tokens, op("Min", positions, last))); // [blocks, rows of a block, hidden]
  };
  const stack = (linears: readonly (Linear | undefined)[], outputs: number, inputs: number) => {
    const sources = linears.flatMap((linear) => linear?.weight ?? []);
    return op("Reshape", stacked(context, sources), builder.int64s([experts.length, outputs, inputs]));
  };
  const gates = stack(
    experts.map(({ gate }) => gate),
    width,
    hidden,
  );
  const ups = stack(
    experts.map(({ up }) => up),
    width,
    hidden,
  );
  const downs = stack(
    experts.map(({ down }) => down),
    hidden,
    width,
  );
  const product = (value: Value, weights: Value) =>
    builder.op("FusedMatMul", [value, weights], { domain: MICROSOFT_DOMAIN, attributes: { transB: 1 } });
  const computed = (starts: Value, weightsOf: (weights: Value) => Value) => {
    const entering = rowsFrom(starts);
    const open = product(entering, weightsOf(gates));
    const gated = gatedActivation(context, first, open, product(entering, weightsOf(ups)));
    return op("Reshape", product(gated, weightsOf(downs)), builder.int64s([-1, hidden]));
  };
  const ofFirst = computed(blocks.starts, (weights) => weights);
  const ofFurther = computed(blocks.furtherStarts, (weights) => op("Gather", weights, blocks.owners));
  const rows = builder.op("Concat", [ofFirst, ofFurther], { attributes: { axis: 0 } });
  return op("Gather", rows, placesInBlocks(context, op, experts.length, sent, blocks));
}

/** Where each row is among all blocks; for nobody's rows, some place. int64 [rows] */
function placesInBlocks(
  { builder }: GraphContext,
  op: Operation,
  experts: number,
  { places, inverse }: SentRows,
  { size, starts, furtherBefore, furtherCount }: Blocks,
): Value {
  const number = (value: number) => builder.int64s([value]);
  const expert = op("Min", places, number(experts - 1));
  const slot = op("Sub", inverse, op("Gather", starts, expert));
  const inFirst = op("Add", op("Mul", expert, size), slot);
  // Further blocks of an expert follow each other, behind all first ones; slot counts from the expert's first block.
  const blocksBefore = op("Add", op("Gather", furtherBefore, expert), number(experts - 1));
  const inFurther = op("Add", op("Mul", blocksBefore, size), slot);
  const place = op("Where", op("Less", slot, size), inFirst, inFurther);
  const count = op("Mul", op("Add", furtherCount, number(experts)), size);
  return op("Min", place, op("Sub", count, number(1)));
}

/** Matrices one below the other, joined as they are stored. [outputs of all, inputs] */
function stacked({ builder, weights, arithmetic }: GraphContext, sources: readonly WeightSource[]): Value {
  const types = new Set(
    sources.map((source) => {
      const whole = wholeOf(source);
      return whole.kind === "tensor" ? weights.storedType(whole.name) : arithmetic.elementType;
    }),
  );
  const [common = arithmetic.elementType] = types.size === 1 ? types : [];
  const rows = sources.map((source) => weights.as(common, source));
  return cast(builder, builder.op("Concat", rows, { attributes: { axis: 0 } }), common, arithmetic.elementType);
}
