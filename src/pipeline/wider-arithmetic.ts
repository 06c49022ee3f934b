// The fallback precision: where float16 is too narrow for a model, or the device has no float16, the work is done again
// in the provider's wide arithmetic, with a warning. Attention is tested before. Does not know ranges or arms.

import type { Decoder } from "../architectures/description.js";
import { CheckpointError, ProviderError } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import { PROVIDERS } from "../runtime/providers.js";
import { checkAttention } from "./attention-check.js";
import type { ComputePlan } from "./compute-plan.js";

/** Activations are NaN or Inf. To the user it is a CheckpointError. */
export class NotFiniteError extends CheckpointError {
  override readonly name = "CheckpointError";
}

/** ONNX Runtime's error for a device without 16-bit arithmetic. */
const WITHOUT_FLOAT16 = /requires f16/;

export interface HeldResult<Result> {
  readonly result: Result;
  /** The plan that was used. */
  readonly plan: ComputePlan;
  /** Why it is not the plan that was asked for. */
  readonly warnings: readonly string[];
}

/**
 * Runs the work, with unfused attention where the provider's operator is wrong. If activations overflow float16, or the
 * device has no float16, runs it again in the provider's wide arithmetic.
 * @throws NotFiniteError when activations are not finite in that either, and errors of the work
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

/** Joins the types and warnings of several processes; different types are a warning, too. */
export function joinArithmetic(parts: readonly ComputedPart[]): ComputedPart {
  const [elementType = "float32", ...others] = new Set(parts.map((part) => part.elementType));
  const mixed = others.map((other) => `Some prompts were computed in ${elementType}, others in ${other}.`);
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
