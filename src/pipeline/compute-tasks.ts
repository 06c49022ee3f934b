// The tasks of the computing process, one entry each. Requests and results are sent between processes: plain data,
// arrays, maps.

import { evaluateArms } from "./evaluate-arms.js";
import { generateTexts } from "./generate-texts.js";
import { measureRanges } from "./measure-ranges.js";
import { tryFirstSegments } from "./trial.js";

export const COMPUTE_TASKS = {
  measure: measureRanges,
  evaluate: evaluateArms,
  generate: generateTexts,
  try: tryFirstSegments,
} as const;

export type ComputeTaskName = keyof typeof COMPUTE_TASKS;
export type TaskRequest<Name extends ComputeTaskName> = Parameters<(typeof COMPUTE_TASKS)[Name]>[0];
export type TaskResult<Name extends ComputeTaskName> = Awaited<ReturnType<(typeof COMPUTE_TASKS)[Name]>>;
