// The plan of a forward pass: the batches of this process, and the segments that each of them runs through. Knows
// nothing of what is measured.

import type { Decoder } from "../architectures/description.js";
import { ropeRegimes } from "../architectures/rope.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { counted } from "../counted.js";
import { PromptDataError } from "../errors.js";
import { type Batch, type BatchShare, dealBatches, makeBatches } from "../prompts/batches.js";
import { type ComputePlan, mostRows } from "./compute-plan.js";
import { requireRoomForExperts } from "./experts-that-fit.js";
import { planSegments, type Segment } from "./segment-plan.js";
import { storedBytes } from "./weight-locations.js";

export interface PassRequest {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly plan: ComputePlan;
  /** The share of the batches, when several processes share them. */
  readonly share?: BatchShare | undefined;
}

export interface Pass {
  readonly batches: readonly Batch[];
  /** Empty when there is no batch. */
  readonly segments: readonly Segment[];
}

/**
 * Plans a pass.
 * @param tokenIds of all prompts, [prompts][tokens]
 * @param lastLayer whether all layers are needed whole, or nothing after the last K and V
 */
export function planPass(
  { checkpoint, decoder, plan, share }: PassRequest,
  tokenIds: readonly (readonly number[])[],
  lastLayer: "keys-values" | "layer",
): Pass {
  requirePositions(decoder, tokenIds);
  const regimeOf = (length: number) => ropeRegimes(decoder.ropes, length);
  const all = makeBatches(tokenIds, { maxTokens: plan.batchTokens, maxRows: mostRows(decoder, plan), regimeOf });
  const largest = all.reduce((most, { prompts, width }) => Math.max(most, prompts.length * width), 0);
  requireRoomForExperts(plan, decoder, largest);
  const batches = share === undefined ? all : dealBatches(all, share);
  const limits = { ...plan, elementType: plan.arithmetic.elementType };
  const segments = batches.length === 0 ? [] : planSegments(decoder, limits, storedBytes(checkpoint), lastLayer);
  return { batches, segments };
}

/** @throws PromptDataError for a prompt with more tokens than the model has learned positions */
function requirePositions({ embedding }: Decoder, tokenIds: readonly (readonly number[])[]): void {
  const most = embedding.positions?.tokens ?? Number.POSITIVE_INFINITY;
  const longest = tokenIds.reduce((length, ids) => Math.max(length, ids.length), 0);
  if (longest <= most) return;
  throw new PromptDataError(
    `A prompt has ${counted(longest, "token")}, and this model has learned ${counted(most, "position")}: cut prompts to that (--sequence-length ${most})`,
  );
}
