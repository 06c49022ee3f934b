// The public API. What is exported here is kept stable; everything else may change.

export type { OutputFormatName } from "./checkpoint/output-formats.js";
export {
  CheckpointError,
  HubError,
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
export type { Float8Name } from "./numerics/float8.js";
export type { LayerRange, SideRange } from "./numerics/ranges.js";
export type { LayerScales } from "./numerics/scales.js";
export {
  type CalibrateOptions,
  type CalibrationProgress,
  type CalibrationResult,
  calibrate,
} from "./pipeline/calibrate.js";
export { type Conversion, type ConvertOptions, convert } from "./pipeline/convert.js";
export {
  type ComparedCheckpoint,
  type Difference,
  type DiffOptions,
  diff,
  type LayerRatios,
} from "./pipeline/diff.js";
export type { GenerationOptions } from "./pipeline/generation.js";
export {
  type InspectedEngine,
  type InspectedLayer,
  type Inspection,
  type InspectionProblem,
  type InspectOptions,
  inspect,
} from "./pipeline/inspect.js";
export type { MeasureTiming } from "./pipeline/measure-ranges.js";
export type { ComputeOptions, ModelOptions } from "./pipeline/run-options.js";
export { type VerificationProgress, type VerifyOptions, verify } from "./pipeline/verify.js";
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
  VerifyResult,
} from "./pipeline/verify-result.js";
