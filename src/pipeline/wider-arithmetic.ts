// What to do when float16 is too narrow for a model, or unknown to a device: the same work in the provider's wide
// arithmetic, and a word about it. Attention is tried out before either. Knows neither ranges nor arms.

import type { Decoder } from "../architectures/description.js";
import { CheckpointError, ProviderError } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import { PROVIDERS } from "../runtime/providers.js";
import { checkAttention } from "./attention-check.js";
import type { ComputePlan } from "./compute-plan.js";

/** Activations are NaN or Inf. For the reader it is a CheckpointError. */
export class NotFiniteError extends CheckpointError {
  override readonly name = "CheckpointError";
}

/** What ONNX Runtime says of a device without 16-bit arithmetic. */
const WITHOUT_FLOAT16 = /requires f16/;

export interface HeldResult<Result> {
  readonly result: Result;
  /** The plan that gave it. */
  readonly plan: ComputePlan;
  /** Why that is not the plan that was asked for. */
  readonly warnings: readonly string[];
}

/**
 * Runs the work, with attention written out where the provider's operator is wrong; when float16 does not hold its
 * activations, or the device has no float16, once more in the provider's wide arithmetic.
 * @throws NotFiniteError when they are not finite in that either, and what the work throws
 */
export async function inArithmeticThatHolds<Result>(
  plan: ComputePlan,
  decoder: Decoder,
  work: (plan: ComputePlan) => Promise<Result>,
): Promise<HeldResult<Result>> {
  try {
    return await withCheckedAttention(plan, decoder, work);
  } catch (error) {
    const reason = plan.arithmetic.elementType === "float16" ? whyTooNarrow(error) : undefined;
    if (reason === undefined) throw error;
    const wider = { ...plan, arithmetic: PROVIDERS[plan.provider].wideArithmetic };
    const held = await withCheckedAttention(wider, decoder, work);
    const warning = `${reason}: it was computed in ${wider.arithmetic.elementType} instead.`;
    return { ...held, warnings: [warning, ...held.warnings] };
  }
}

interface ComputedPart {
  readonly elementType: ComputeType;
  readonly warnings: readonly string[];
}

/** What several processes computed in, and all that they warn of; that not all had one type is a warning, too. */
export function joinArithmetic(parts: readonly ComputedPart[]): ComputedPart {
  const [elementType = "float32", ...others] = new Set(parts.map((part) => part.elementType));
  const mixed = others.map((other) => `Some prompts were computed with in ${elementType}, others in ${other}.`);
  return { elementType, warnings: [...new Set([...parts.flatMap(({ warnings }) => warnings), ...mixed])] };
}

async function withCheckedAttention<Result>(
  plan: ComputePlan,
  decoder: Decoder,
  work: (plan: ComputePlan) => Promise<Result>,
): Promise<HeldResult<Result>> {
  const checked = await checkAttention(plan, decoder);
  return { result: await work(checked.plan), ...checked };
}

function whyTooNarrow(error: unknown): string | undefined {
  if (error instanceof NotFiniteError) return "Weights or activations are beyond the range of float16";
  if (error instanceof ProviderError && WITHOUT_FLOAT16.test(error.message)) return "The device has no float16";
  return undefined;
}
