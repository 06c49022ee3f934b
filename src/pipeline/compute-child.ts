// The computing process: takes one task after the other, of each sends progress, then the result or the error. It writes
// no files, so it may be ended at any time, and its parent ends it.

import { preloadRuntime } from "../runtime/session.js";
import { describeFailure } from "./child-process.js";
import { superviseChild } from "./child-supervision.js";
import type { FromChild, ToChild } from "./compute-process.js";
import { COMPUTE_TASKS, type ComputeTaskName, type TaskRequest, type TaskResult } from "./compute-tasks.js";
import { warmUp } from "./warm-up.js";

const MAX_UNCOLLECTED_BYTES = 8 * 2 ** 20;
let uncollected = 0;

const [, , parentId, threads] = process.argv;
superviseChild({ parentId: Number(parentId), memoryBytes: undefined });

let warmedUp: Promise<void> = Promise.resolve();

process.on("message", async (message: ToChild) => {
  if (message.kind === "warm up") {
    warmedUp = warmUp(message.request).catch(() => {});
    return;
  }
  const { task, request } = message;
  await warmedUp;
  try {
    const result = await runTask(task, {
      ...request,
      onProgress(progress: unknown) {
        collectOutputs();
        send({ kind: "progress", progress });
      },
    });
    send({ kind: "done", result });
  } catch (error) {
    send(describeFailure(error));
  }
});

function runTask<Name extends ComputeTaskName>(task: Name, request: unknown): Promise<TaskResult<Name>> {
  const run = COMPUTE_TASKS[task] as (request: TaskRequest<Name>) => Promise<TaskResult<Name>>;
  return run(request as TaskRequest<Name>);
}

/** Outputs are copies that only garbage collection frees, and nothing else would trigger it in time. */
function collectOutputs(): void {
  if (process.memoryUsage().arrayBuffers < uncollected + MAX_UNCOLLECTED_BYTES) return;
  globalThis.gc?.({ type: "minor" });
  uncollected = process.memoryUsage().arrayBuffers;
}

function send(message: FromChild): void {
  process.send?.(message);
}

preloadRuntime(threads === undefined ? undefined : Number(threads));
