// Decides which consecutive parts of a decoder are in memory together. Pure arithmetic on sizes.

import { productsOf, tablesOf, weightElements, weightsAroundLayers } from "../architectures/block-facts.js";
import { cacheSites } from "../architectures/cache-sites.js";
import type { Decoder } from "../architectures/description.js";
import { elementsOf } from "../architectures/weight-source.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import {
  beforeCache,
  type CrossingValue,
  crossingInto,
  crossingOutOf,
  residualsOfPart,
  type SegmentPart,
} from "../graphs/segment-parts.js";

export interface Segment {
  readonly parts: readonly SegmentPart[];
  /** Such as "the embedding and layers 0–7". */
  readonly purpose: string;
  /** Beside hidden states: what it takes of earlier segments, what it makes for later ones, and all that those take. */
  readonly reads: readonly CrossingValue[];
  readonly gives: readonly CrossingValue[];
  readonly readLater: readonly CrossingValue[];
}

export const BYTES_OF_COMPUTE_TYPE: Readonly<Record<ComputeType, number>> = { float32: 4, float16: 2, bfloat16: 2 };

export interface SegmentLimits {
  /** Bytes of weights in memory at a time. */
  readonly segmentBytes: number;
  /** What weights are held as. */
  readonly elementType: ComputeType;
}

/**
 * Fills segments with parts until the next would exceed the limit; a part larger than the limit is a
 * segment of its own.
 * @param lastLayer whether all layers are needed whole, or nothing behind the last K and V
 * @param bytesOf bytes that a tensor takes as stored, by name
 */
export function planSegments(
  decoder: Decoder,
  { segmentBytes, elementType }: SegmentLimits,
  bytesOf: (tensor: string) => number,
  lastLayer: "keys-values" | "layer" = "keys-values",
): Segment[] {
  const groups: SegmentPart[][] = [];
  let used = 0;
  for (const part of partsOf(decoder, lastLayer)) {
    const bytes = bytesInMemory(decoder, part, elementType, bytesOf);
    const group = groups.at(-1);
    if (group !== undefined && used + bytes <= segmentBytes) {
      group.push(part);
      used += bytes;
    } else {
      groups.push([part]);
      used = bytes;
    }
  }
  return groups.map((parts, index) => {
    const later = groups.slice(index + 1).flat();
    return {
      ...{ parts, purpose: describePurpose(parts), reads: crossingInto(parts) },
      ...{ gives: crossingOutOf(parts, later), readLater: crossingInto(later) },
    };
  });
}

/** Bytes of weights of the whole decoder in memory, its end not among them. */
export function decoderBytes(decoder: Decoder, elementType: ComputeType, bytesOf: (tensor: string) => number): number {
  return partsOf(decoder, "layer").reduce((sum, part) => sum + bytesInMemory(decoder, part, elementType, bytesOf), 0);
}

/** Bytes of weights of the largest layer in memory. */
export function largestLayerBytes(decoder: Decoder, elementType: ComputeType): number {
  const bytes = decoder.layers.map((layer) => bytesOfLayer({ kind: "layer", layer }, elementType));
  return Math.max(0, ...bytes);
}

function partsOf(decoder: Decoder, lastLayer: "keys-values" | "layer"): SegmentPart[] {
  const last = lastLayer === "layer" ? Number.POSITIVE_INFINITY : (cacheSites(decoder).at(-1)?.layer ?? -1);
  const needed = decoder.layers.filter(({ index }) => index <= last);
  return [
    { kind: "embedding" },
    ...needed.map((layer): SegmentPart => ({ kind: layer.index === last ? "keys-values" : "layer", layer })),
  ];
}

/** Tables stay as stored; layers are held as what is computed in. */
function bytesInMemory(
  decoder: Decoder,
  part: SegmentPart,
  elementType: ComputeType,
  bytesOf: (tensor: string) => number,
): number {
  if (part.kind !== "embedding") return bytesOfLayer(part, elementType);
  const tables = [...tablesOf(decoder).keys()].reduce((sum, name) => sum + bytesOf(name), 0);
  const others = weightsAroundLayers(decoder).reduce((sum, source) => sum + elementsOf(source), 0);
  return tables + BYTES_OF_COMPUTE_TYPE[elementType] * others;
}

function bytesOfLayer(part: Exclude<SegmentPart, { kind: "embedding" }>, elementType: ComputeType): number {
  const bytes = BYTES_OF_COMPUTE_TYPE[elementType];
  if (part.kind === "layer") return bytes * weightElements(residualsOfPart(part), part.layer.altUp);
  const { before, attention } = beforeCache(part.layer);
  const keysValues = elementsOf(attention.key.weight) + elementsOf(attention.value.weight);
  return bytes * (weightElements(before, part.layer.altUp) + keysValues);
}

/** Multiplications per token of some parts. */
export function productsOfParts(parts: readonly SegmentPart[]): number {
  return parts.reduce((sum, part) => {
    if (part.kind === "embedding") return sum;
    return sum + productsOf(part.kind === "layer" ? residualsOfPart(part) : part.layer.residuals);
  }, 0);
}

function describePurpose(parts: readonly SegmentPart[]): string {
  const layers = parts.flatMap((part) => (part.kind === "embedding" ? [] : [part.layer.index]));
  const names = parts[0]?.kind === "embedding" ? ["the embedding"] : [];
  if (layers.length === 1) names.push(`layer ${layers[0]}`);
  if (layers.length > 1) names.push(`layers ${layers[0]}–${layers.at(-1)}`);
  return names.join(" and ");
}
