// The result of a calibration, from which reports are made, and its progress. Only types.

import type { EngineCommand, OutputFormatName } from "../checkpoint/output-formats.js";
import type { Placement } from "../checkpoint/place-file.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import type { DownloadProgress } from "../hub/download-files.js";
import type { EndOfRounds } from "../numerics/end-of-rounds.js";
import type { ExpertTokens } from "../numerics/expert-tokens.js";
import type { Float8Name } from "../numerics/float8.js";
import type { LayerForecast } from "../numerics/layer-levels.js";
import type { QuantizedWeights } from "../numerics/quantized-weights.js";
import type { LayerRange } from "../numerics/ranges.js";
import type { LayerScales } from "../numerics/scales.js";
import type { ServingQuestion } from "../numerics/serving-levels.js";
import type { ProviderName } from "../runtime/providers.js";
import type { MeasureProgress, MeasureTiming } from "./measure-ranges.js";
import type { SampleRound } from "./sample-rounds.js";

export type CalibrationProgress =
  | ({ readonly stage: "download" } & DownloadProgress)
  | { readonly stage: "open" }
  | { readonly stage: "tokenize" }
  | { readonly stage: "try" }
  | ({ readonly stage: "measure"; readonly tokens: number; readonly round?: SampleRound } & MeasureProgress)
  | { readonly stage: "write"; readonly copiedBytes: number; readonly totalBytes: number };

export interface CalibrationResult {
  /** The folder that holds the result. */
  readonly output: string;
  /** Whether that is the model's own folder, or that of `onto`. */
  readonly inPlace: boolean;
  /** The folder whose weights the result has, where that is not the model's. */
  readonly onto?: string | undefined;
  /** `model_type` of config.json; of a multimodal model, that of its decoder. */
  readonly modelType: string;
  /** How the scales are written. */
  readonly format: OutputFormatName;
  /** FP8 format of the cache. */
  readonly dtype: Float8Name;
  /** Factor on every absmax; `"auto"`: each scale is for its level in `forecast`. */
  readonly headroom: number | "auto";
  /** What levels were computed for. */
  readonly serving: ServingQuestion;
  /** Where it was computed. */
  readonly provider: ProviderName;
  /** The type of activations and weights while computing. */
  readonly computedIn: ComputeType;
  /** Number of prompts that were used. */
  readonly samples: number;
  /** With `samples: "auto"`: what ended the rounds. */
  readonly rounds?: EndOfRounds | undefined;
  /** Number of tokens that were measured. */
  readonly tokens: number;
  /** What of the run was loading weights, and what computing; the rest is starting, tokenizing and writing. */
  readonly timing: MeasureTiming;
  /** How the weights came into the new folder; undefined in place. */
  readonly placement: Placement | undefined;
  /** What was measured, by layer. */
  readonly ranges: readonly LayerRange[];
  /** What was written, by layer. */
  readonly scales: readonly LayerScales[];
  /** What serving is expected to bring, by layer, or why nothing can be said of it. */
  readonly forecast: LayerForecast;
  /** Tokens that each expert has computed, of layers before the last cache. */
  readonly experts: readonly ExpertTokens[];
  /** Of a multimodal model: kinds of tokens that prompts can hold beside text, and that were not measured. */
  readonly notMeasured: readonly ("image" | "audio")[];
  /** The engines that use the scales, and the command that starts each; FOLDER stands for the result. */
  readonly engines: readonly EngineCommand[];
  /** How the weights are quantized; undefined where they are not. */
  readonly quantizedWeights?: QuantizedWeights | undefined;
  /** The format to convert the result to for engines that do not read this one; undefined where there is none. */
  readonly convertTo?: OutputFormatName | undefined;
  /** What a person should know, a sentence or more each. */
  readonly warnings: readonly string[];
}
