// Computing processes as the built program starts them. Knows no task.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "vitest";
import type { Decoder } from "../../src/architectures/description.js";
import type { Checkpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { ComputePlan } from "../../src/pipeline/compute-plan.js";
import type { Worker } from "../../src/pipeline/share-work.js";
import type * as StartWorkers from "../../src/pipeline/start-workers.js";
import { REPOSITORY } from "./run-cli.js";

/** Two that divide the cores of a processor, as if it had eight. @param plan of both, instead of their own */
export async function startTwoProcesses(
  checkpoint: Checkpoint,
  decoder: Decoder,
  plan: ComputePlan,
): Promise<Worker[]> {
  const built = pathToFileURL(join(REPOSITORY, "dist/pipeline/start-workers.js")).href;
  const { startWorkers } = (await import(built)) as typeof StartWorkers;
  const machine = { cores: 8, free: 2 ** 33 };
  const workers = await startWorkers({ provider: "cpu", checkpoint, decoder, tokens: 4096 }, machine);
  expect(workers).toHaveLength(2);
  return workers.map(({ process }) => ({ process, plan }));
}
