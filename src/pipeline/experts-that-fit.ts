// Stacked experts need memory for all rows of a batch at once. Where a prompt alone is too long for that, or the device has no
// room, the work is done with one expert after the other. Knows no session.

import type { Decoder } from "../architectures/description.js";
import { ProviderError } from "../errors.js";
import { stackableMixtures, stackedTokens } from "../graphs/stacked-experts.js";
import type { ComputePlan } from "./compute-plan.js";
import { type HeldResult, inArithmeticThatHolds } from "./wider-arithmetic.js";

/** A prompt has more tokens than stacked experts have room for. */
export class CrowdedExpertsError extends Error {
  override readonly name = "CrowdedExpertsError";
}

/** @throws CrowdedExpertsError @param largest tokens of the largest batch, padding included */
export function requireRoomForExperts({ arithmetic }: ComputePlan, decoder: Decoder, largest: number): void {
  if (arithmetic.experts !== "stacked") return;
  const room = Math.min(...stackableMixtures(decoder).map(stackedTokens));
  if (largest > room) throw new CrowdedExpertsError(`a batch of ${largest} tokens, ${room} fit`);
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
    return "A prompt is too long for all experts together (shorter prompts fit: --sequence-length)";
  if (error instanceof ProviderError) return `Experts could not be computed together (${error.message})`;
  return undefined;
}
