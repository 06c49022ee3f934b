// Bytes that weights take in memory while a segment computes. Pure arithmetic on sizes; knows no checkpoint.

import { elementsOf, type WeightSource, wholeOf } from "../architectures/weight-source.js";
import type { ComputeType } from "../graphs/arithmetic.js";

export const BYTES_OF_COMPUTE_TYPE: Readonly<Record<ComputeType, number>> = { float32: 4, float16: 2, bfloat16: 2 };

/** How weights are in memory while a segment computes. */
export interface HeldWeights {
  /** The type that is computed in, which numbers are held as. */
  readonly elementType: ComputeType;
  /** When codes become numbers; absent: in each run. */
  readonly dequantizes?: "in-each-run" | "when-opened";
}

/** DequantizeLinear gives float32, whatever is computed in, and blocks of inputs are multiplied with their scales behind it. */
const BYTES_OF_DEQUANTIZED = 8;
/** Two codes of 4 bits in a byte become a byte each when a session opens. */
const BYTES_OF_CODE = 1;
const BYTES_OF_SCALE = 4;

/** Bytes of weights in memory. Of codes that become numbers in each run, the largest matrix does so at a time. */
export function weightBytes(sources: readonly WeightSource[], held: HeldWeights): number {
  const bytes = sources.reduce((sum, source) => sum + bytesHeld(source, held), 0);
  return held.dequantizes === "when-opened" ? bytes : bytes + dequantizedBytes(sources, held);
}

function bytesHeld(source: WeightSource, { elementType, dequantizes }: HeldWeights): number {
  const whole = wholeOf(source);
  if (whole.kind === "tensor" || dequantizes === "when-opened") {
    return BYTES_OF_COMPUTE_TYPE[elementType] * elementsOf(source);
  }
  const scales = whole.scales.reduce((sum, { per }) => sum + 1 / per[1], 0);
  return elementsOf(source) * (BYTES_OF_CODE + BYTES_OF_SCALE * scales);
}

function dequantizedBytes(sources: readonly WeightSource[], { elementType }: HeldWeights): number {
  const cast = elementType === "float32" ? 0 : BYTES_OF_COMPUTE_TYPE[elementType];
  return (BYTES_OF_DEQUANTIZED + cast) * Math.max(0, ...sources.map(elementsDequantized));
}

/** Zero points and scales are then spread over all weights, too. */
const TIMES_WHERE_INPUTS_NAME_BLOCKS = 2;

/** What exists as numbers at a time for a source: of a matrix that is stored inputs first, all of it. */
function elementsDequantized(source: WeightSource): number {
  const whole = wholeOf(source);
  if (whole.kind !== "scaled") return 0;
  const elements = whole.stored === "inputs-first" && whole.shape.length === 2 ? elementsOf(whole) : elementsOf(source);
  return elements * (whole.blockOfInput === undefined ? 1 : TIMES_WHERE_INPUTS_NAME_BLOCKS);
}

/** Bytes that a mixture's weights take beside those held, where each run makes copies of them. */
export function stackedBytes(sources: readonly WeightSource[], elementType: ComputeType, copies: number): number {
  // What codes become is in memory once more before it is copied.
  const times = (source: WeightSource) => (wholeOf(source).kind === "scaled" ? copies + 1 : copies);
  return BYTES_OF_COMPUTE_TYPE[elementType] * sources.reduce((sum, each) => sum + times(each) * elementsOf(each), 0);
}
