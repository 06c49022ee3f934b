// Stacked experts have as many rows as the fullest of them. Where a prompt alone is too long for that, or the device has no
// room, the work is done again with one expert after the other. Knows no session.

import type { Decoder } from "../architectures/description.js";
import { ProviderError } from "../errors.js";
import { capacityOf, stackableMixtures } from "../graphs/stacked-experts.js";
import type { ComputePlan } from "./compute-plan.js";
import { type HeldResult, inArithmeticThatHolds } from "./wider-arithmetic.js";

/** An expert was sent more rows than it has room for. */
export class CrowdedExpertsError extends Error {
  override readonly name = "CrowdedExpertsError";
}

/** @throws CrowdedExpertsError @param tokens of each expert of a layer, of a batch */
export function requireRoomForRows(
  { arithmetic }: ComputePlan,
  { layers }: Decoder,
  layer: number,
  tokens: Float32Array,
): void {
  const [mixture] = stackableMixtures({ layers: layers.slice(layer, layer + 1) });
  // Of a mixture that is cut, each group is computed one by one.
  if (arithmetic.experts !== "stacked" || mixture === undefined || tokens.length < mixture.experts.length) return;
  const capacity = capacityOf(mixture);
  const most = tokens.reduce((largest, count) => Math.max(largest, count), 0);
  if (most > capacity) throw new CrowdedExpertsError(`layer ${layer}: ${most} rows for one expert, ${capacity} fit`);
}

/** Runs the work; where stacked experts do not fit, once more with one expert after the other. @throws what the work throws */
export async function inExpertsThatFit<Result>(
  plan: ComputePlan,
  decoder: Decoder,
  work: (plan: ComputePlan) => Promise<Result>,
): Promise<HeldResult<Result>> {
  try {
    return await inArithmeticThatHolds(plan, decoder, work);
  } catch (error) {
    const reason = reasonOf(error);
    if (reason === undefined || plan.arithmetic.experts !== "stacked" || stackableMixtures(decoder).length === 0) {
      throw error;
    }
    const oneByOne: ComputePlan = { ...plan, arithmetic: { ...plan.arithmetic, experts: "one-by-one" } };
    const held = await inArithmeticThatHolds(oneByOne, decoder, work);
    const warning = `${reason}: experts were computed one after the other instead, which takes longer.`;
    return { ...held, warnings: [warning, ...held.warnings] };
  }
}

function reasonOf(error: unknown): string | undefined {
  if (error instanceof CrowdedExpertsError)
    return "An expert was sent more tokens than it has room for beside the others (shorter prompts fit: --sequence-length)";
  if (error instanceof ProviderError) return `Experts could not be computed together (${error.message})`;
  return undefined;
}
