// The options of a calibration, and what they are when the defaults are filled in. Checks each alone and all together;
// knows no checkpoint.

import { OUTPUT_FORMATS, type OutputFormatName } from "../checkpoint/output-formats.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { ServingQuestion } from "../numerics/serving-levels.js";
import type { CalibrationProgress } from "./calibration-result.js";
import { PROVIDER_CHOICES, type ProviderChoice } from "./choose-provider.js";
import {
  A_MODEL,
  LARGEST_SEED,
  OR_AUTO,
  requireComputeOptions,
  requireDtypeOfFormat,
  requireInteger,
  requireKey,
  requireNumber,
  requireOnePlace,
  requireText,
} from "./option-checks.js";
import {
  CALIBRATION_DEFAULTS,
  type ComputeOptions,
  type DataOptions,
  EXCEEDANCES,
  type ModelOptions,
} from "./run-options.js";

export interface CalibrateOptions extends ModelOptions, ComputeOptions, DataOptions {
  /**
   * The checkpoint to write the scales onto: the same model, its weights quantized. Its weights become those of the
   * result, and `model` is only measured. A folder or a hub id, as `model`. CheckpointError when it is not the same
   * model.
   * @defaultValue `model`
   */
  readonly onto?: string | undefined;
  /**
   * Folder to write. OutputExistsError when there is something that may not be replaced, OutputWriteError when it cannot be
   * written.
   * @defaultValue `<model>-FP8-KV`, or `<onto>-FP8-KV`, beside that; of a hub id, in the current folder
   */
  readonly output?: string | undefined;
  /**
   * Add the scales to the model's own folder instead, or to that of `onto`. UsageError together with `output`, or with a hub id.
   * @defaultValue `false`
   */
  readonly inPlace?: boolean | undefined;
  /**
   * Replace an earlier result. What is not from this program is never replaced.
   * @defaultValue `false`
   */
  readonly force?: boolean | undefined;
  /**
   * How the scales are written: it decides which engines read them.
   * @defaultValue `"tgi"`
   */
  readonly format?: OutputFormatName | undefined;
  /**
   * FP8 format of the cache. UsageError when the output format has no such dtype.
   * @defaultValue `"float8_e4m3fn"`
   */
  readonly dtype?: Float8Name | undefined;
  /**
   * Factor on every absmax, 1 to 16: room for larger values than those of the prompts. `"auto"` writes each scale for the
   * level that serving exceeds with the probability `exceedance`, at most twice the absmax; PromptDataError when there are
   * too few prompts to say.
   * @defaultValue `1`
   */
  readonly headroom?: number | "auto" | undefined;
  /**
   * What is to be served, in tokens, 1 or more: the larger, the larger its largest K and V.
   * @defaultValue `1000000`
   */
  readonly servingTokens?: number | undefined;
  /**
   * Probability with which serving exceeds a level, from 0.001 to 0.5.
   * @defaultValue `0.05`
   */
  readonly exceedance?: number | undefined;
  /**
   * Number of prompts at most, 1 or more. The seed chooses them. `"auto"` measures in rounds, up to 256 prompts, and stops
   * when more would change nothing that matters.
   * @defaultValue `256`
   */
  readonly samples?: number | "auto" | undefined;
  /**
   * Tokens of each prompt at most, 1 or more.
   * @defaultValue `2048`
   */
  readonly sequenceLength?: number | undefined;
  /**
   * Which prompts, when there are more: an integer from 0 to 4294967295.
   * @defaultValue `0`
   */
  readonly seed?: number | undefined;
  /**
   * Called while the work goes on, often; what it throws ends the run.
   * @defaultValue none
   */
  readonly onProgress?: ((progress: CalibrationProgress) => void) | undefined;
}

export interface CalibrationSettings {
  readonly format: OutputFormatName;
  readonly dtype: Float8Name;
  readonly headroom: number | "auto";
  /** What levels are computed for. */
  readonly serving: ServingQuestion;
  readonly samples: number | "auto";
  readonly sequenceLength: number;
  readonly seed: number;
  readonly provider: ProviderChoice;
}

/** Fills in the defaults and checks values that types cannot. @throws UsageError */
export function completeSettings(options: CalibrateOptions): CalibrationSettings {
  const settings: CalibrationSettings = {
    format: options.format ?? CALIBRATION_DEFAULTS.format,
    dtype: options.dtype ?? CALIBRATION_DEFAULTS.dtype,
    headroom: options.headroom ?? CALIBRATION_DEFAULTS.headroom,
    serving: {
      tokens: options.servingTokens ?? CALIBRATION_DEFAULTS.servingTokens,
      exceedance: options.exceedance ?? CALIBRATION_DEFAULTS.exceedance,
    },
    samples: options.samples ?? CALIBRATION_DEFAULTS.samples,
    sequenceLength: options.sequenceLength ?? CALIBRATION_DEFAULTS.sequenceLength,
    seed: options.seed ?? CALIBRATION_DEFAULTS.seed,
    provider: options.provider ?? CALIBRATION_DEFAULTS.provider,
  };
  requireText("model", options.model, A_MODEL);
  if (options.onto !== undefined) requireText("onto", options.onto, A_MODEL);
  requireKey("format", settings.format, OUTPUT_FORMATS);
  requireKey("dtype", settings.dtype, FLOAT8_FORMATS);
  requireKey("provider", settings.provider, PROVIDER_CHOICES);
  requireComputeOptions(options);
  requireDtypeOfFormat(settings.format, settings.dtype);
  if (settings.headroom !== "auto") requireNumber("headroom", settings.headroom, 1, 16, OR_AUTO);
  requireInteger("servingTokens", settings.serving.tokens, 1);
  requireNumber("exceedance", settings.serving.exceedance, EXCEEDANCES.least, EXCEEDANCES.most);
  if (settings.samples !== "auto") requireInteger("samples", settings.samples, 1, undefined, OR_AUTO);
  requireInteger("sequenceLength", settings.sequenceLength, 1);
  requireInteger("seed", settings.seed, 0, LARGEST_SEED);
  requireOnePlace(options);
  return settings;
}

/** Prompts that are read: `"auto"` may stop before. */
export function promptsAtMost({ samples }: Pick<CalibrationSettings, "samples">): number {
  return samples === "auto" ? CALIBRATION_DEFAULTS.samples : samples;
}
