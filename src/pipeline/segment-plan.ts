// Decides which consecutive parts of a decoder are in memory together. Pure arithmetic on sizes.

import { distinctWeights, productsOf, tablesOf, weightsAroundLayers } from "../architectures/block-facts.js";
import { cacheSites } from "../architectures/cache-sites.js";
import type { Decoder, DecoderLayer } from "../architectures/description.js";
import { mixtureIn, residualsInMemory, residualToCut } from "../graphs/cut-mixture.js";
import {
  beforeCache,
  type CrossingValue,
  crossingInto,
  crossingOutOf,
  type SegmentPart,
} from "../graphs/segment-parts.js";

import { type HeldWeights, weightBytes } from "./weight-bytes.js";

export interface Segment {
  readonly parts: readonly SegmentPart[];
  /** Such as "the embedding and layers 0–7". */
  readonly purpose: string;
  /** Beside hidden states: what it takes of earlier segments, what it makes for later ones, and all that those take. */
  readonly reads: readonly CrossingValue[];
  readonly gives: readonly CrossingValue[];
  readonly readLater: readonly CrossingValue[];
}

export interface SegmentLimits extends HeldWeights {
  /** Bytes of weights in memory at a time. */
  readonly segmentBytes: number;
  /** Bytes of a layer up to which it stays whole: the experts of a larger one are cut into parts. Absent: none is cut. */
  readonly layerBytes?: number;
}

/**
 * Fills segments with parts until the next would exceed the limit; a part larger than the limit is a segment of its
 * own.
 * @param lastLayer whether all layers are needed whole, or nothing after the last K and V
 * @param bytesOf bytes that a tensor takes as stored, by name
 */
export function planSegments(
  decoder: Decoder,
  { segmentBytes, ...limits }: SegmentLimits,
  bytesOf: (tensor: string) => number,
  lastLayer: "keys-values" | "layer" = "keys-values",
): Segment[] {
  const groups: SegmentPart[][] = [];
  let used = 0;
  for (const part of partsOf(decoder, lastLayer, limits)) {
    const bytes = bytesInMemory(decoder, part, limits, bytesOf);
    const group = groups.at(-1);
    if (group !== undefined && used + bytes <= segmentBytes && !startsWithCut(part)) {
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

/** Bytes of weights of a segment in memory. */
export function segmentBytes(
  decoder: Decoder,
  { parts }: Segment,
  held: HeldWeights,
  bytesOf: (tensor: string) => number,
): number {
  return parts.reduce((sum, part) => sum + bytesInMemory(decoder, part, held, bytesOf), 0);
}

/** Bytes of weights of the whole decoder in memory, its end not among them. */
export function decoderBytes(decoder: Decoder, held: HeldWeights, bytesOf: (tensor: string) => number): number {
  return partsOf(decoder, "layer", held).reduce((sum, part) => sum + bytesInMemory(decoder, part, held, bytesOf), 0);
}

/** Bytes of weights of the largest part of a layer in memory. */
export function largestPartBytes({ layers }: Decoder, limits: LayerLimits): number {
  const parts = layers.flatMap((layer) => partsOfLayer(layer, limits));
  return Math.max(0, ...parts.map((part) => bytesOfLayer(part, limits)));
}

type LayerLimits = Omit<SegmentLimits, "segmentBytes">;
type LayerPart = Exclude<SegmentPart, { kind: "embedding" }>;

/** What a layer is cut into: itself, or where it is too large, what comes before its experts, and these in groups. */
export function partsOfLayer(layer: DecoderLayer, { layerBytes, ...held }: LayerLimits): [LayerPart, ...LayerPart[]] {
  const whole: LayerPart = { kind: "layer", layer };
  const residual = residualToCut(layer);
  const limit = layerBytes ?? Number.POSITIVE_INFINITY;
  if (residual === undefined || bytesOfLayer(whole, held) <= limit) return [whole];
  const count = mixtureIn(layer, residual).block.experts.length;
  const residuals = { start: residual, end: layer.residuals.length };
  const rest = (expertsFrom: number): LayerPart =>
    expertsFrom === 0 ? { kind: "layer", layer, residuals } : { kind: "layer", layer, residuals, expertsFrom };
  const group = (start: number, end: number): LayerPart => ({
    ...{ kind: "experts", layer, residual, experts: { start, end } },
  });
  const bytesOf = (part: LayerPart) => bytesOfLayer(part, held);
  // Experts are of one size. Of quantized ones, one matrix at a time is in memory as numbers.
  const expertBytes = bytesOf(group(0, 2)) - bytesOf(group(0, 1));
  const bytesBeside = bytesOf(group(0, 1)) - expertBytes;
  const size = Math.max(1, Math.floor((limit - bytesBeside) / expertBytes));
  const bytesOfRest = bytesOf(rest(0));
  const groups: LayerPart[] = [];
  let start = 0;
  while (start < count - 1 && bytesOfRest - start * expertBytes > limit) {
    const end = Math.min(start + size, count - 1);
    groups.push(group(start, end));
    start = end;
  }
  const behind = [...groups, rest(start)] as const;
  const [first = rest(0), ...others] = behind;
  if (residual === 0) return [first, ...others];
  return [{ kind: "layer", layer, residuals: { start: 0, end: residual } }, ...behind];
}

/** Groups of experts choose alike only of hidden states that all read as they crossed. */
function startsWithCut(part: SegmentPart): boolean {
  return part.kind === "experts" || (part.kind === "layer" && part.expertsFrom !== undefined);
}

function partsOf(decoder: Decoder, lastLayer: "keys-values" | "layer", limits: LayerLimits): SegmentPart[] {
  const last = lastLayer === "layer" ? Number.POSITIVE_INFINITY : (cacheSites(decoder).at(-1)?.layer ?? -1);
  const needed = decoder.layers.filter(({ index }) => index <= last);
  return [
    { kind: "embedding" },
    ...needed.flatMap((layer): SegmentPart[] =>
      layer.index === last ? [{ kind: "keys-values", layer }] : partsOfLayer(layer, limits),
    ),
  ];
}

/** Tables stay as stored; layers are held as what is computed in. */
function bytesInMemory(
  decoder: Decoder,
  part: SegmentPart,
  held: HeldWeights,
  bytesOf: (tensor: string) => number,
): number {
  if (part.kind !== "embedding") return bytesOfLayer(part, held);
  const tables = tablesOf(decoder).reduce((sum, { name }) => sum + bytesOf(name), 0);
  return tables + weightBytes(weightsAroundLayers(decoder), held);
}

function bytesOfLayer(part: LayerPart, held: HeldWeights): number {
  const { altUp } = part.layer;
  if (part.kind !== "keys-values") return weightBytes(distinctWeights(residualsInMemory(part), altUp), held);
  const { before, attention } = beforeCache(part.layer);
  const keysValues = [attention.key.weight, attention.value.weight];
  return weightBytes([...distinctWeights(before, altUp), ...keysValues], held);
}

/** Multiplications per token of some parts. */
export function productsOfParts(parts: readonly SegmentPart[]): number {
  return parts.reduce((sum, part) => {
    if (part.kind === "embedding") return sum;
    return sum + productsOf(part.kind === "keys-values" ? part.layer.residuals : residualsInMemory(part));
  }, 0);
}

function describePurpose(parts: readonly SegmentPart[]): string {
  const [first] = parts;
  if (first?.kind === "experts") {
    return `experts ${first.experts.start}–${first.experts.end - 1} of layer ${first.layer.index}`;
  }
  const layers = [...new Set(parts.flatMap((part) => (part.kind === "embedding" ? [] : [part.layer.index])))];
  const names = first?.kind === "embedding" ? ["the embedding"] : [];
  if (layers.length === 1) names.push(`layer ${layers[0]}`);
  if (layers.length > 1) names.push(`layers ${layers[0]}–${layers.at(-1)}`);
  return names.join(" and ");
}
