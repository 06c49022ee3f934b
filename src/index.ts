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
