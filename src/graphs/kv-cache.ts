// What a cache keeps of K and V: rounded to a dtype and back, and what was lost on the way. The rounding is arithmetic in
// float32, exact on every provider, and its numbers are chosen by an input of the graph: one session, and its weights,
// serve every arm of a comparison.

import { FLOAT8_CODES, type Float8CodeName } from "../numerics/float8.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";

export type Side = "k" | "v";

export interface CacheRounding {
  /** What the cache stores; float32 keeps everything. */
  readonly elementType: CachedType;
  /** Largest finite value of that type: larger ones are cut to it. */
  readonly largest: number;
  /** By number of the layer, for every layer that writes a cache; what is stored is x / scale. Absent: x itself. */
  readonly scales?: Readonly<Record<Side, Readonly<Record<number, number>>>>;
}

/** What a cache may store. */
export type CachedType = "float32" | "bfloat16" | "float16" | Float8CodeName;

/** Which of a model's caches. */
export interface CachePlace {
  readonly layer: number;
  readonly side: Side;
}

/** What a cache divides by there. @throws RangeError when scales are given and this one is not among them */
export function scaleAt({ scales }: Pick<CacheRounding, "scales">, { layer, side }: CachePlace): number {
  const scale = scales === undefined ? 1 : scales[side][layer];
  if (scale === undefined) throw new RangeError(`no scale of ${side.toUpperCase()} for layer ${layer}`);
  return scale;
}

export interface CacheLoss {
  /** Σ (x − x̂)² */
  readonly noise: Value; // [batch]
  /** Elements with |x / scale| beyond the largest value. */
  readonly saturated: Value; // [batch]
  /** Elements other than zero that became zero. */
  readonly flushed: Value; // [batch]
}

/**
 * x̂ = scale · round(x / scale), by the rounding that `choice` says: to nearest, ties to even, saturating.
 *
 * A number x of 2^e ≤ |x| < 2^(e+1) is rounded to m bits of mantissa by adding and subtracting 1.5 · 2^(23 + e − m): the
 * sum has no room for smaller bits, and float32 rounds it to nearest even. 2^e itself is 0.75 · |x| rounded to a single
 * bit by Veltkamp's splitting (Dekker 1971). Where that gives 2^(e+1), x is so near that both grids round it up to there.
 * @param x float32 [batch, tokens, kv_heads × head_dim], padding set to 0; for types of 16 bits and more, below 2^100
 * @param choice which of the roundings; int32 [1], or NONE where there is only one
 */
export function throughCache(
  builder: GraphBuilder,
  roundings: readonly CacheRounding[],
  place: CachePlace,
  choice: Value,
  x: Value,
): { readonly kept: Value; readonly loss: CacheLoss } {
  const { kept, magnitude, within } = round(builder, roundings, place, choice, x);
  const reduce = (operator: string, of: Value, axis: number) =>
    builder.op(operator, [of, builder.int64s([axis])], { attributes: { keepdims: 0 } });
  // Tokens one by one, then all: the first of the two is spread over the processor's cores.
  const sum = (values: Value, operator = "ReduceSum") => reduce("ReduceSum", reduce(operator, values, 2), 1); // [batch]
  const lost = builder.op("Sub", [isNotZero(builder, within), isNotZero(builder, builder.op("Abs", [kept]))]);
  return {
    kept,
    loss: {
      noise: sum(builder.op("Sub", [x, kept]), "ReduceSumSquare"),
      saturated: sum(isNotZero(builder, builder.op("Sub", [magnitude, within]))),
      flushed: sum(lost),
    },
  };
}

/** x̂ alone, without what was lost: see throughCache. */
export function keptByCache(
  builder: GraphBuilder,
  roundings: readonly CacheRounding[],
  place: CachePlace,
  choice: Value,
  x: Value,
): Value {
  return round(builder, roundings, place, choice, x).kept;
}

function round(
  builder: GraphBuilder,
  roundings: readonly CacheRounding[],
  place: CachePlace,
  choice: Value,
  x: Value,
): { readonly kept: Value; readonly magnitude: Value; readonly within: Value } {
  if (roundings.length === 0) throw new RangeError("no roundings to choose from");
  const chosen = (of: (rounding: CacheRounding) => number) =>
    roundings.length === 1
      ? builder.float32s(roundings.map(of))
      : builder.op("Gather", [builder.float32s(roundings.map(of)), choice]); // [1]
  const scale = chosen((rounding) => scaleAt(rounding, place));
  const largest = chosen((rounding) => rounding.largest);
  const scaled = builder.op("Div", [x, scale]);
  const magnitude = builder.op("Abs", [scaled]);
  const within = builder.op("Min", [magnitude, largest]);
  const clipped = builder.op("Max", [builder.op("Min", [scaled, largest]), builder.op("Neg", [largest])]);
  const power = builder.op("Max", [
    powerOfTwoBelow(builder, within),
    chosen(({ elementType }) => GRIDS[elementType].smallestNormal),
  ]);
  const pushed = builder.op("Mul", [power, chosen(({ elementType }) => pushOf(GRIDS[elementType]))]);
  const rounded = builder.op("Sub", [builder.op("Add", [clipped, pushed]), pushed]);
  return { kept: builder.op("Mul", [rounded, scale]), magnitude, within };
}

interface Grid {
  readonly mantissaBits: number;
  readonly smallestNormal: number;
}

const FLOAT32_MANTISSA_BITS = 23;

/** The numbers of each type: between two powers of two they are equally far from each other. */
const GRIDS: Readonly<Record<CachedType, Grid>> = {
  float32: { mantissaBits: FLOAT32_MANTISSA_BITS, smallestNormal: 2 ** -126 },
  bfloat16: { mantissaBits: 7, smallestNormal: 2 ** -126 },
  float16: { mantissaBits: 10, smallestNormal: 2 ** -14 },
  float8_e4m3fn: gridOf("float8_e4m3fn"),
  float8_e4m3fnuz: gridOf("float8_e4m3fnuz"),
  float8_e5m2: gridOf("float8_e5m2"),
};

function gridOf(format: Float8CodeName): Grid {
  const { mantissaBits, bias } = FLOAT8_CODES[format];
  return { mantissaBits, smallestNormal: 2 ** (1 - bias) };
}

/** What times 2^e is added and taken away; 0 keeps every bit. */
function pushOf({ mantissaBits }: Grid): number {
  const cutBits = FLOAT32_MANTISSA_BITS - mantissaBits;
  return cutBits === 0 ? 0 : 1.5 * 2 ** cutBits;
}

/**
 * A little more than 0.75, so that a power of two is no tie between itself and its half; and so little that what it takes
 * for the next power is rounded up to that on the finest grid, float16's, too: 1.5 / 0.75012 > 2 − 2⁻¹¹.
 */
const ABOVE_THREE_QUARTERS = 0.75 + 2 ** -13;

/** 2^e of 2^e ≤ x < 2^(e+1), or 2^(e+1) when x is within 2^(e−11) of it. 0 of 0. */
function powerOfTwoBelow(builder: GraphBuilder, x: Value): Value {
  const shrunk = builder.op("Mul", [x, builder.float32(ABOVE_THREE_QUARTERS)]);
  const product = builder.op("Mul", [shrunk, builder.float32(2 ** FLOAT32_MANTISSA_BITS + 1)]);
  return builder.op("Sub", [product, builder.op("Sub", [product, shrunk])]);
}

/** 1 where x is not 0. Of denormal numbers, which devices may take for 0, less. @param x not negative */
function isNotZero(builder: GraphBuilder, x: Value): Value {
  return builder.op("HardSigmoid", [x], { attributes: { alpha: { float: 2 ** 126 }, beta: { float: 0 } } });
}
