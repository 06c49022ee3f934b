// Runs a task in several processes at once, each with a share of the work. Knows no task.

import type { BatchShare } from "../prompts/batches.js";
import type { ComputePlan } from "./compute-plan.js";
import type { ComputeProcess } from "./compute-process.js";
import type { ComputeTaskName, TaskRequest, TaskResult } from "./compute-tasks.js";

/** A process, and how it computes. */
export interface Worker {
  readonly process: ComputeProcess;
  readonly plan: ComputePlan;
}

/** The share of a process; undefined where one process does everything. */
export interface ShareOfWork {
  readonly plan: ComputePlan;
  readonly share: BatchShare | undefined;
}

/**
 * Runs a task in all processes.
 * @returns results in the order of the workers
 * @throws as the task; the first error stops all
 */
export async function shareWork<Name extends ComputeTaskName>(
  workers: readonly Worker[],
  task: Name,
  requestOf: (part: ShareOfWork, index: number) => TaskRequest<Name>,
): Promise<TaskResult<Name>[]> {
  const count = workers.length;
  const running = workers.map(({ process, plan }, index) =>
    process.run(task, requestOf({ plan, share: count === 1 ? undefined : { index, count } }, index)),
  );
  try {
    return await Promise.all(running);
  } catch (error) {
    stopAll(workers);
    await Promise.allSettled(running);
    throw error;
  }
}

/** Ends the processes at once. */
export function stopAll(workers: readonly Worker[]): void {
  for (const { process } of workers) process.stop();
}
