// Tests a provider's attention before a run: ONNX Runtime's operator gives wrong values on some devices, without an
// error. An operator that differs from the CPU is not used. Knows nothing of weights and prompts.

import { valueDimOf } from "../architectures/blocks.js";
import { blocksOf, type Decoder } from "../architectures/description.js";
import { ProviderError } from "../errors.js";
import { type Arithmetic, type ComputeType, FLOAT32_ARITHMETIC } from "../graphs/arithmetic.js";
import { ATTENTION_VALUES, buildAttention } from "../graphs/attend.js";
import type { AttentionShape } from "../graphs/fused-attention.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import { PROVIDERS, type ProviderName } from "../runtime/providers.js";
import { type NamedTensors, openSession } from "../runtime/session.js";
import { countInputs } from "./batch-inputs.js";
import type { ComputePlan } from "./compute-plan.js";

export interface CheckedPlan {
  /** The plan, with unfused attention where the operator is wrong. */
  readonly plan: ComputePlan;
  readonly warnings: readonly string[];
}

/** Lengths of a few prompts. Kernels depend on the number of prompts and on the divisors of the width. */
export type TrialBatch = readonly number[];

const TRIAL_BATCHES: readonly TrialBatch[] = [[131], [96, 41]];
const SHORTEST_TRIAL = Math.min(...TRIAL_BATCHES.map((lengths) => Math.max(...lengths)));

/**
 * Largest difference that rounding explains, for values up to 1 and scores up to about 6. Sums in float16 are off by up
 * to 0.007 (head_dim 256), float32 kernels by 1e-6; a kernel that skips keys, by 0.2 and more.
 */
const TOLERANCES: Readonly<Record<ComputeType, number>> = { float32: 1e-3, float16: 0.03, bfloat16: 0.1 };

/** Runs attention of one shape over batches and returns the outputs. */
export type RunAttention = (
  provider: ProviderName,
  arithmetic: Arithmetic,
  shape: AttentionShape,
  batches: readonly TrialBatch[],
) => Promise<readonly Float32Array[]>; // [batches][prompts × width × heads × head_dim]

/**
 * Tests attention and returns the plan to compute with. Providers whose attention is known to be right are not tested.
 * @throws ProviderError when unfused attention is wrong, too, or when attention cannot be tested
 */
export async function checkAttention(
  plan: ComputePlan,
  decoder: Decoder,
  run: RunAttention = runAttention,
): Promise<CheckedPlan> {
  const { provider, arithmetic } = plan;
  if (!PROVIDERS[provider].checksAttention || arithmetic.attention === "written-out") return { plan, warnings: [] };
  const writtenOut: Arithmetic = { ...arithmetic, attention: "written-out" };
  const tolerance = TOLERANCES[arithmetic.elementType];
  let worst: number | undefined;
  for (const shape of shapesToTry(decoder)) {
    const expected = await run("cpu", FLOAT32_ARITHMETIC, shape, TRIAL_BATCHES);
    const errorOf = async (form: Arithmetic) =>
      largestError(shape, await run(provider, form, shape, TRIAL_BATCHES), expected);
    const error = await errorOf(arithmetic);
    if (error <= tolerance) continue;
    const errorWrittenOut = await errorOf(writtenOut);
    if (errorWrittenOut > tolerance) {
      throw new ProviderError(
        `Attention on ${provider} gives wrong values (${offBy(errorWrittenOut, tolerance)}), as one operator and as matrix products: this device or its driver computes wrongly. Use --provider cpu.`,
      );
    }
    worst = Math.max(worst ?? 0, error);
  }
  if (worst === undefined) return { plan, warnings: [] };
  const warning = `ONNX Runtime's attention operator gives wrong values on this device (${provider}, ${offBy(worst, tolerance)}): attention was computed as matrix products instead, which gave right ones.`;
  // Unfused attention needs memory for scores.
  const segmentBytes = Math.ceil(plan.segmentBytes / 2);
  const layerBytes = Math.ceil(plan.layerBytes / 2);
  return { plan: { ...plan, arithmetic: writtenOut, segmentBytes, layerBytes }, warnings: [warning] };
}

function offBy(error: number, tolerance: number): string {
  return `off by ${Number.isFinite(error) ? error.toPrecision(2) : "NaN"}, where rounding explains ${tolerance}`;
}

/**
 * Every kind of attention of the model, once. Attention with a window is tested twice: for prompts shorter than the
 * window, operators use the kernel without one. Windows are shortened so that they matter in the shortest test.
 */
function shapesToTry({ layers }: Decoder): AttentionShape[] {
  const shapes = layers.flatMap(blocksOf).flatMap((block): AttentionShape[] => {
    if (block.kind !== "attention" && block.kind !== "shared-attention") return [];
    const { heads, kvHeads, headDim, valueDim, scale, softcap, slidingWindow } = block;
    const whole = {
      ...{ heads, kvHeads, headDim },
      ...(valueDim !== undefined && { valueDim }),
      ...(scale !== undefined && { scale }),
      ...(softcap !== undefined && { softcap }),
    };
    if (slidingWindow === undefined) return [whole];
    return [whole, { ...whole, slidingWindow: Math.min(slidingWindow, SHORTEST_TRIAL / 2) }];
  });
  return [...new Map(shapes.map((shape) => [JSON.stringify(shape), shape])).values()];
}

/** Largest difference at the prompts' tokens; infinite when one is NaN. */
function largestError(
  shape: AttentionShape,
  found: readonly Float32Array[],
  expected: readonly Float32Array[],
): number {
  const size = shape.heads * valueDimOf(shape);
  let largest = 0;
  for (const [batch, lengths] of TRIAL_BATCHES.entries()) {
    const width = Math.max(...lengths);
    for (const [row, length] of lengths.entries()) {
      const start = row * width * size;
      for (let at = start; at < start + length * size; at++) {
        const difference = Math.abs((found[batch]?.[at] ?? Number.NaN) - (expected[batch]?.[at] ?? Number.NaN));
        largest = Math.max(largest, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
      }
    }
  }
  return largest;
}

/** Opens a session for attention alone and runs the batches. @throws ProviderError */
export const runAttention: RunAttention = async (provider, arithmetic, shape, batches) => {
  const model = encodeModelProto(buildAttention(shape, arithmetic));
  const purpose = "a trial of attention";
  const session = await openSession({ model, externalDataFolder: "", provider, purpose });
  try {
    const outputs: Float32Array[] = [];
    for (const lengths of batches) {
      const { [ATTENTION_VALUES.attended]: attended } = await session.run(trialInputs(shape, lengths));
      outputs.push(attended ?? new Float32Array());
    }
    return outputs;
  } finally {
    await session.release();
  }
};

/**
 * Factor on queries and keys. The standard deviation of scores is 4/3 for any head_dim, so that some tokens count much
 * more than others.
 */
const SHARPNESS = 2;

function trialInputs(shape: AttentionShape, lengths: TrialBatch): NamedTensors {
  const { heads, kvHeads, headDim } = shape;
  const width = Math.max(...lengths);
  const numbers = trialNumbers();
  const tensor = (size: number, scale: number) => {
    const data = Float32Array.from({ length: lengths.length * width * size }, () => scale * numbers());
    return { type: "float32", data, shape: [lengths.length, width, size] } as const;
  };
  return {
    [ATTENTION_VALUES.query]: tensor(heads * headDim, SHARPNESS),
    [ATTENTION_VALUES.key]: tensor(kvHeads * headDim, SHARPNESS),
    [ATTENTION_VALUES.value]: tensor(kvHeads * valueDimOf(shape), 1),
    ...countInputs({ lengths, width }),
  };
}

/** Numbers from −1 to 1 that float16 and bfloat16 hold exactly, the same in every run (a linear congruential generator). */
function trialNumbers(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 24) / 128 - 1;
  };
}
