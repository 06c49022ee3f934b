// A mixture of experts that is too large to be in memory whole: where it is, and what weights a part of it has. Every part
// chooses experts anew of the same hidden states, and adds its own to a sum that crosses. Knows no graph and no bytes.

import type { Branch, DecoderLayer, Residual } from "../architectures/description.js";
import type { Experts } from "../architectures/experts.js";
import { type IndexRange, residualsOfPart, type SegmentPart } from "./segment-parts.js";

/** The residual of a layer whose mixture can be cut: the only one of the layer, with one stream of hidden states. */
export function residualToCut({ residuals, altUp }: DecoderLayer): number | undefined {
  const mixtures = residuals.flatMap(({ branches }, residual) =>
    branches.flatMap(({ block }) => (block.kind === "experts" ? [residual] : [])),
  );
  return altUp === undefined && mixtures.length === 1 ? mixtures[0] : undefined;
}

/** The branch of a residual that is a mixture. @throws RangeError */
export function mixtureIn({ index, residuals }: DecoderLayer, residual: number): Branch & { readonly block: Experts } {
  for (const branch of residuals[residual]?.branches ?? []) {
    const { block } = branch;
    if (block.kind === "experts") return { ...branch, block };
  }
  throw new RangeError(`layer ${index} has no experts in residual ${residual}`);
}

/** Residuals with the weights that a part has: of a mixture that is cut, its own experts alone. */
export function residualsInMemory(part: Extract<SegmentPart, { kind: "layer" | "experts" }>): readonly Residual[] {
  if (part.kind === "layer") {
    const { expertsFrom } = part;
    const [first, ...others] = residualsOfPart(part);
    if (first === undefined || expertsFrom === undefined) return residualsOfPart(part);
    const [branch, ...behind] = first.branches.map((each) => withExperts(each, { start: expertsFrom }));
    return branch === undefined ? others : [{ ...first, branches: [branch, ...behind] }, ...others];
  }
  const { norm, block } = mixtureIn(part.layer, part.residual);
  const { shared: _, ...routed } = block;
  return [{ branches: [withExperts({ ...(norm && { norm }), block: routed }, part.experts)] }];
}

function withExperts(branch: Branch, { start, end }: { readonly start: number } & Partial<IndexRange>): Branch {
  const { block } = branch;
  return block.kind === "experts"
    ? { ...branch, block: { ...block, experts: block.experts.slice(start, end) } }
    : branch;
}
