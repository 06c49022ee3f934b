// The public API. What is exported here is kept stable; everything else may change.

export type { EngineName } from "./checkpoint/engine-names.js";
export type { OnFnuz, ScaleUse, SideScale } from "./checkpoint/engine-verdicts.js";
export type { EngineCommand, OutputFormatName } from "./checkpoint/output-formats.js";
export type { Placement } from "./checkpoint/place-file.js";
export type { ScalesAsRead, ScaleTensor } from "./checkpoint/read-scales.js";
export type { ScaleForm, ScaleKind, ScaleName } from "./checkpoint/scale-names.js";
export type { ProblemKind } from "./checkpoint/scale-problems.js";
export {
  CheckpointError,
  DifferenceError,
  HubError,
  InconclusiveError,
  InterruptedError,
  KvScalesError,
  OutputExistsError,
  OutputWriteError,
  PromptDataError,
  ProviderError,
  UnsupportedModelError,
  UsageError,
  VerificationError,
} from "./errors.js";
export type { ComputeType } from "./graphs/arithmetic.js";
export type { DownloadProgress } from "./hub/download-files.js";
export type { ArmMetrics } from "./metrics/arm-metrics.js";
export type { Interval } from "./metrics/block-mean.js";
export type { Fidelity } from "./metrics/cache-fidelity.js";
export type { RetrievalMetrics } from "./metrics/retrieval-metrics.js";
export type { Thresholds } from "./metrics/thresholds.js";
export type { Verdict, VerdictName } from "./metrics/verdict.js";
export type { EndOfRounds } from "./numerics/end-of-rounds.js";
export type { ExpertTokens } from "./numerics/expert-tokens.js";
export type { Float8Name } from "./numerics/float8.js";
export type { LayerForecast, LayerLevels } from "./numerics/layer-levels.js";
export type { QuantizedWeights } from "./numerics/quantized-weights.js";
export type { LayerRange, SideRange } from "./numerics/ranges.js";
export type { LayerScales } from "./numerics/scales.js";
export type { ServingLevel, ServingQuestion } from "./numerics/serving-levels.js";
export { calibrate } from "./pipeline/calibrate.js";
export type { CalibrateOptions } from "./pipeline/calibrate-settings.js";
export type { CalibrationProgress, CalibrationResult } from "./pipeline/calibration-result.js";
export type { ProviderChoice } from "./pipeline/choose-provider.js";
export { type Conversion, type ConvertOptions, convert } from "./pipeline/convert.js";
export {
  type ComparedCheckpoint,
  type Difference,
  type DiffOptions,
  diff,
  type LayerRatios,
} from "./pipeline/diff.js";
export type { GenerateProgress } from "./pipeline/generate-texts.js";
export type { GenerationOptions } from "./pipeline/generation.js";
export type { GenerationWay } from "./pipeline/generator.js";
export {
  type InspectedEngine,
  type InspectedLayer,
  type Inspection,
  type InspectionProblem,
  type InspectOptions,
  inspect,
} from "./pipeline/inspect.js";
export type { MeasureProgress, MeasureTiming } from "./pipeline/measure-ranges.js";
export type { RetrievalOptions } from "./pipeline/retrieval.js";
export type { ComputeOptions, DataOptions, ModelOptions } from "./pipeline/run-options.js";
export type { SampleRound } from "./pipeline/sample-rounds.js";
export { verify } from "./pipeline/verify.js";
export type {
  ArmName,
  ArmResult,
  Continuation,
  GeneratedText,
  GenerationResult,
  LayerEffect,
  LayerFidelity,
  MeasuredCache,
  PositionBin,
  RetrievalArm,
  RetrievalDepth,
  RetrievalResult,
  VerifyResult,
} from "./pipeline/verify-result.js";
export type { VerificationProgress, VerifyOptions } from "./pipeline/verify-settings.js";
export type { ProviderName } from "./runtime/providers.js";
