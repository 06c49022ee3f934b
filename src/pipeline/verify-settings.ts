// The options of a verification, and the settings of a run that they stand for: checked, and with every default. Opens no
// file.

import { UsageError } from "../errors.js";
import type { DownloadProgress } from "../hub/download-files.js";
import { type Thresholds, VERIFY_DEFAULTS } from "../metrics/verdict.js";
import type { ProviderName } from "../runtime/providers.js";
import { ARMS } from "./arms.js";
import { PROVIDER_CHOICES, providersToTry } from "./choose-provider.js";
import type { GenerateProgress } from "./generate-texts.js";
import type { GenerationOptions } from "./generation.js";
import {
  A_MODEL,
  LARGEST_SEED,
  requireComputeOptions,
  requireInteger,
  requireKey,
  requireNumber,
  requireText,
} from "./option-checks.js";
import type { RetrievalOptions } from "./retrieval.js";
import {
  BASELINES,
  type ComputeOptions,
  type DataOptions,
  type ModelOptions,
  VERIFICATION_DEFAULTS,
} from "./run-options.js";
import type { ArmName } from "./verify-result.js";

export interface VerifyOptions extends ModelOptions, ComputeOptions, DataOptions {
  /**
   * Which caches to compare. UsageError without one that the verdict is about, or without a baseline.
   * @defaultValue all
   */
  readonly arms?: readonly ArmName[] | undefined;
  /**
   * The arm that the others are compared with: `"16-bit"` or `"exact"`.
   * @defaultValue `"16-bit"`, or `"exact"` where `arms` has no 16-bit
   */
  readonly baseline?: ArmName | undefined;
  /**
   * Also try FP8 in each layer alone: as many passes as there are layers, sharing what they have in common.
   * @defaultValue `false`
   */
  readonly perLayer?: boolean | undefined;
  /**
   * Number of texts at most, 1 or more. The seed chooses them.
   * @defaultValue `256`
   */
  readonly samples?: number | undefined;
  /**
   * Tokens of a window, 2 or more. Longer text is cut into several.
   * @defaultValue `2048`
   */
  readonly sequenceLength?: number | undefined;
  /**
   * Which texts, when there are more: an integer from 0 to 4294967295.
   * @defaultValue `0`
   */
  readonly seed?: number | undefined;
  /**
   * What the verdict allows: see Thresholds. One that is left out has its default.
   * @defaultValue `{ maxPerplexityIncrease: 0.01, maxKl: 0.02, minAgreement: 0.9, minRetrieval: 0.9 }`
   */
  readonly thresholds?: Partial<Thresholds> | undefined;
  /**
   * Also asks long texts for what they said, through every cache: what perplexity hides.
   * @defaultValue none: nothing is retrieved
   */
  readonly retrieval?: RetrievalOptions | undefined;
  /**
   * Also answers prompts token by token through caches that are really stored. The whole model is in memory then:
   * ProviderError when it does not fit.
   * @defaultValue none: nothing is generated
   */
  readonly generate?: GenerationOptions | undefined;
  /**
   * Called with the model's folder once it is there, before anything is computed; what it throws ends the run.
   * @defaultValue none
   */
  readonly onFolder?: ((folder: string) => Promise<void>) | undefined;
  /**
   * Called while the work goes on, often; what it throws ends the run.
   * @defaultValue none
   */
  readonly onProgress?: ((progress: VerificationProgress) => void) | undefined;
}

export type VerificationProgress =
  | ({ readonly stage: "download" } & DownloadProgress)
  | { readonly stage: "open" }
  | { readonly stage: "tokenize" }
  | { readonly stage: "try" }
  | { readonly stage: "evaluate"; readonly what: string; readonly done: number; readonly tokens: number }
  | ({ readonly stage: "generate" } & GenerateProgress);

/** What a run is to do. */
export interface VerifySettings {
  readonly arms: readonly ArmName[];
  readonly baseline: ArmName;
  readonly perLayer: boolean;
  readonly samples: number;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly providers: readonly ProviderName[];
  readonly devices: readonly number[] | undefined;
  readonly thresholds: Thresholds;
}

/** @throws UsageError, ProviderError */
export function completeSettings(options: VerifyOptions): VerifySettings {
  const names = Object.keys(ARMS) as ArmName[];
  requireText("model", options.model, A_MODEL);
  if (options.arms !== undefined) requireArms(options.arms);
  const arms = options.arms === undefined ? names : names.filter((name) => options.arms?.includes(name));
  const baseline = options.baseline ?? (arms.includes("16-bit") ? "16-bit" : "exact");
  if (!BASELINES.includes(baseline)) {
    throw new UsageError(`baseline: expected one of ${BASELINES.join(", ")}, found ${baseline}`);
  }
  if (!arms.includes(baseline)) {
    const added = listOfArms([...arms, options.baseline ?? "16-bit"]);
    throw new UsageError(
      options.baseline === undefined
        ? `arms: expected ${BASELINES.join(" or ")} among them, to compare the others with; found ${arms.join(", ")}. Write --arms ${added}.`
        : `baseline: ${baseline} is not among the arms (${arms.join(", ")}). Write --arms ${added}, or choose another baseline.`,
    );
  }
  const provider = options.provider ?? VERIFICATION_DEFAULTS.provider;
  requireKey("provider", provider, PROVIDER_CHOICES);
  const { devices } = options;
  requireComputeOptions(options);
  const sequenceLength = options.sequenceLength ?? VERIFICATION_DEFAULTS.sequenceLength;
  const samples = options.samples ?? VERIFICATION_DEFAULTS.samples;
  requireInteger("samples", samples, 1);
  requireInteger("sequenceLength", sequenceLength, 2);
  const seed = options.seed ?? VERIFICATION_DEFAULTS.seed;
  requireInteger("seed", seed, 0, LARGEST_SEED);
  const thresholds = {
    maxPerplexityIncrease: options.thresholds?.maxPerplexityIncrease ?? VERIFY_DEFAULTS.maxPerplexityIncrease,
    maxKl: options.thresholds?.maxKl ?? VERIFY_DEFAULTS.maxKl,
    minAgreement: options.thresholds?.minAgreement ?? VERIFY_DEFAULTS.minAgreement,
    minRetrieval: options.thresholds?.minRetrieval ?? VERIFY_DEFAULTS.minRetrieval,
  };
  requireNumber("thresholds.maxPerplexityIncrease", thresholds.maxPerplexityIncrease, 0);
  requireNumber("thresholds.maxKl", thresholds.maxKl, 0);
  requireNumber("thresholds.minAgreement", thresholds.minAgreement, 0, 1);
  requireNumber("thresholds.minRetrieval", thresholds.minRetrieval, 0, 1);
  return {
    ...{ arms, baseline, devices, samples, sequenceLength, seed, thresholds },
    providers: providersToTry(provider, devices),
    perLayer: options.perLayer ?? false,
  };
}

function requireArms(arms: readonly ArmName[]): void {
  if (!Array.isArray(arms)) throw new UsageError(`arms: expected a list of ${Object.keys(ARMS).join(", ")}`);
  for (const name of arms) requireKey("arms", name, ARMS);
}

/** In the order of the table. */
export function listOfArms(arms: readonly ArmName[]): string {
  return Object.keys(ARMS)
    .filter((name) => arms.some((arm) => arm === name))
    .join(",");
}
