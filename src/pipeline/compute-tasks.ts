// What the computing process can be asked to do: one entry per task. Its requests and results must survive being sent
// from process to process: plain data, arrays, maps.

import { evaluateArms } from "./evaluate-arms.js";
import { generateTexts } from "./generate-texts.js";
import { measureRanges } from "./measure-ranges.js";

export const COMPUTE_TASKS = { measure: measureRanges, evaluate: evaluateArms, generate: generateTexts } as const;

export type ComputeTaskName = keyof typeof COMPUTE_TASKS;
export type TaskRequest<Name extends ComputeTaskName> = Parameters<(typeof COMPUTE_TASKS)[Name]>[0];
export type TaskResult<Name extends ComputeTaskName> = Awaited<ReturnType<(typeof COMPUTE_TASKS)[Name]>>;
