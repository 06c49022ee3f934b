// Which caches a verification compares, and how each rounds: those of the settings, as far as the checkpoint has scales for
// them, and the one that the verdict is about. Evaluates nothing.

import type { CacheSite } from "../architectures/cache-sites.js";
import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { type ScalesAsRead, scalesAsRead } from "../checkpoint/read-scales.js";
import { scaleDtype } from "../checkpoint/scale-facts.js";
import { UsageError } from "../errors.js";
import type { Float8Name } from "../numerics/float8.js";
import { type ArmRoundings, roundingsOf } from "./arms.js";
import type { ArmName } from "./verify-result.js";
import { listOfArms, type VerifySettings } from "./verify-settings.js";

export interface ComparedCaches {
  readonly dtype: Float8Name;
  /** Undefined when the checkpoint has none. */
  readonly scales: ScalesAsRead | undefined;
  readonly rounding: ArmRoundings;
  /** In the order of the table. */
  readonly arms: readonly ArmName[];
  /** The same with the baseline first, as they are evaluated. */
  readonly ordered: readonly [ArmName, ...ArmName[]];
  /** The one that the verdict is about. */
  readonly subject: "fp8" | "fp8-at-1";
}

/**
 * Chooses the caches to compare.
 * @throws CheckpointError for scales that cannot be read; UsageError where the one that the verdict is about is not to be
 * measured
 */
export async function chooseCaches(
  checkpoint: Checkpoint,
  { embedding }: Decoder,
  settings: VerifySettings,
  sites: readonly CacheSite[],
): Promise<ComparedCaches> {
  const scales = await scalesAsRead(checkpoint, sites);
  const arms = settings.arms.filter((arm) => arm !== "fp8" || scales !== undefined);
  const subject = scales === undefined ? "fp8-at-1" : "fp8";
  if (!arms.includes(subject)) throw new UsageError(missingSubject(settings.arms, subject));
  const dtype = scaleDtype(checkpoint.config);
  const rounding = roundingsOf({ dtype, scales, bits16: bits16Of(checkpoint, embedding.weight) });
  const ordered = [settings.baseline, ...arms.filter((arm) => arm !== settings.baseline)] as const;
  return { dtype, scales, rounding, arms, ordered, subject };
}

/** What to do where the cache that the verdict is about is not to be measured. */
function missingSubject(arms: readonly ArmName[], subject: ArmName): string {
  const found = `found ${arms.join(", ")}`;
  if (subject === "fp8") {
    return `arms: expected fp8 among them, since the checkpoint has scales, which the verdict is about; ${found}. Write --arms ${listOfArms([...arms, subject])}.`;
  }
  const others = arms.filter((arm) => arm !== "fp8");
  const what = arms.includes("fp8") ? "has no KV scales, which the arm fp8 is about" : "has no KV scales";
  return `arms: the checkpoint ${what}: ${found}. Calibrate it first, or verify it at scale 1.0: --arms ${listOfArms([...others, subject])}.`;
}

/** What a cache without FP8 would hold: the dtype of the weights; engines serve float32 checkpoints in bfloat16. */
function bits16Of({ tensors }: Checkpoint, embedding: string): "bfloat16" | "float16" {
  return tensors.get(embedding)?.dtype === "F16" ? "float16" : "bfloat16";
}
