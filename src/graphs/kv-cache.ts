// What a cache keeps of K and V: rounded to a dtype and back, with the error of that. The rounding is float32
// arithmetic, exact on every provider. An input of the graph chooses the dtype, so one session serves every arm of a
// comparison.

import { FLOAT8_CODES, type Float8CodeName } from "../numerics/float8.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";

export type Side = "k" | "v";

export interface CacheRounding {
  /** The type that the cache stores; float32 keeps everything. */
  readonly elementType: CachedType;
  /** Largest finite value of that type: larger values saturate to it. */
  readonly largest: number;
  /** By layer number, for every layer that writes a cache; x / scale is stored. Absent: x is stored. */
  readonly scales?: Readonly<Record<Side, Readonly<Record<number, number>>>>;
}

/** The types that a cache may store. */
export type CachedType = "float32" | "bfloat16" | "float16" | Float8CodeName;

/** A cache of the model: its layer and side. */
export interface CachePlace {
  readonly layer: number;
  readonly side: Side;
}

/** The scale of a cache. @throws RangeError when scales are given and this one is missing */
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
 * x̂ = scale · round(x / scale) for the dtype that `choice` names: to nearest, ties to even, saturating.
 *
 * A number x with 2^e ≤ |x| < 2^(e+1) is rounded to m bits of mantissa by adding and subtracting 1.5 · 2^(23 + e − m):
 * the sum cannot hold smaller bits, and float32 rounds it to nearest even. 2^e itself is 0.75 · |x| rounded to a single
 * bit by Veltkamp's splitting (Dekker 1971). Where that gives 2^(e+1), x is so near to it that both grids round x up to
 * it.
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
  // First per token, then over the tokens: the first of the two sums runs on all cores.
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

/** Only x̂, without the error: see throughCache. */
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

/** The grid of each type: between two powers of two its numbers are evenly spaced. */
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

/** This times 2^e is added and subtracted; 0 keeps every bit. */
function pushOf({ mantissaBits }: Grid): number {
  const cutBits = FLOAT32_MANTISSA_BITS - mantissaBits;
  return cutBits === 0 ? 0 : 1.5 * 2 ** cutBits;
}

/**
 * A little more than 0.75, so that a power of two is not a tie between itself and its half. It is so little more that
 * every x that gets the next power is also rounded up to that power on the finest grid, float16's: 1.5 / 0.75012 > 2 −
 * 2⁻¹¹.
 */
const ABOVE_THREE_QUARTERS = 0.75 + 2 ** -13;

/** 2^e of 2^e ≤ x < 2^(e+1), or 2^(e+1) when x is within 2^(e−11) of it. 0 of 0. */
function powerOfTwoBelow(builder: GraphBuilder, x: Value): Value {
  const shrunk = builder.op("Mul", [x, builder.float32(ABOVE_THREE_QUARTERS)]);
  const product = builder.op("Mul", [shrunk, builder.float32(2 ** FLOAT32_MANTISSA_BITS + 1)]);
  return builder.op("Sub", [product, builder.op("Sub", [product, shrunk])]);
}

/** 1 where x is not 0; less for denormal numbers, which devices may flush to 0. @param x not negative */
function isNotZero(builder: GraphBuilder, x: Value): Value {
  return builder.op("HardSigmoid", [x], { attributes: { alpha: { float: 2 ** 126 }, beta: { float: 0 } } });
}
