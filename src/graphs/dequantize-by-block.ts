// Codes with a scale for each block of inputs, as numbers. CUDA's DequantizeLinear knows one scale for a matrix or for each
// output, so blocks are multiplied beside it. Knows no checkpoint.

import type { GraphBuilder, Value } from "../onnx/graph-builder.js";

export interface BlockedCodes {
  readonly codes: Value;
  /** Sizes of the matrix as it is stored. */
  readonly shape: readonly [number, number];
  /** The axis of inputs. */
  readonly axis: 0 | 1;
  /** Inputs of a block; the last block may have fewer. */
  readonly size: number;
  /** One number for each block: a matrix with blocks in the place of inputs, float32. */
  readonly scale: Value;
  /** Codes of zero, as scales are; absent: 0. */
  readonly zero?: Value | undefined;
}

/**
 * (code − zero) · scale. DequantizeLinear is never folded, so nothing is made of codes when a session opens.
 * @returns float32, of the same shape
 */
export function dequantizeByBlock(builder: GraphBuilder, blocked: BlockedCodes): Value {
  const { codes, shape, axis, size } = blocked;
  const numbers = builder.op("DequantizeLinear", [codes, builder.float32(1)]);
  const inputs = shape[axis];
  const whole = Math.floor(inputs / size);
  if (whole * size === inputs) return scaled(builder, numbers, blocked, { start: 0, end: whole, size });
  const cut = (start: number, end: number) => slice(builder, numbers, axis, start, end);
  const parts = [
    ...(whole === 0 ? [] : [scaled(builder, cut(0, whole * size), blocked, { start: 0, end: whole, size })]),
    scaled(builder, cut(whole * size, inputs), blocked, { start: whole, end: whole + 1, size: inputs - whole * size }),
  ];
  return parts.length === 1 ? (parts[0] as Value) : builder.op("Concat", parts, { attributes: { axis } });
}

/** Blocks `start` to `end` of equal size. @param numbers theirs alone */
function scaled(
  builder: GraphBuilder,
  numbers: Value,
  { shape, axis, scale, zero, size: full }: BlockedCodes,
  { start, end, size }: { readonly start: number; readonly end: number; readonly size: number },
): Value {
  const all = Math.ceil(shape[axis] / full);
  const perBlock = (value: Value) => {
    const chosen = start === 0 && end === all ? value : slice(builder, value, axis, start, end);
    return builder.op("Unsqueeze", [chosen, builder.int64s([axis + 1])]);
  };
  const others = shape[1 - axis] as number;
  const inOrder = (ofInputs: readonly number[]) =>
    builder.int64s(axis === 0 ? [...ofInputs, others] : [others, ...ofInputs]);
  const apart = builder.op("Reshape", [numbers, inOrder([end - start, size])]);
  const centered = zero === undefined ? apart : builder.op("Sub", [apart, perBlock(zero)]);
  const multiplied = builder.op("Mul", [centered, perBlock(scale)]);
  return builder.op("Reshape", [multiplied, inOrder([(end - start) * size])]);
}

function slice(builder: GraphBuilder, value: Value, axis: number, start: number, end: number): Value {
  return builder.op("Slice", [value, ...[start, end, axis].map((number) => builder.int64s([number]))]);
}
