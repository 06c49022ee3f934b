// Which of the two ways generates: the loop, unless something is in its way, beforehand or when it is tried; then steps.
// Knows neither models nor devices.

import { CheckpointError, ProviderError } from "../errors.js";

export interface Ways<Result> {
  /** Why the loop need not be tried, as the end of a sentence. */
  readonly obstacle: string | undefined;
  readonly loop: () => Promise<Result>;
  readonly steps: () => Promise<Result>;
}

export interface LoopOrSteps<Result> {
  readonly result: Result;
  /** Why it is not that of the loop. */
  readonly obstacle: string | undefined;
}

/** @throws what steps throws, and of the loop what is no fault of its provider */
export async function loopOrSteps<Result>({ obstacle, loop, steps }: Ways<Result>): Promise<LoopOrSteps<Result>> {
  if (obstacle !== undefined) return { result: await steps(), obstacle };
  try {
    return { result: await loop(), obstacle };
  } catch (error) {
    // Activations that are not finite may be the operator's fault: where they are the model's, steps throw the same.
    if (!(error instanceof ProviderError) && !(error instanceof CheckpointError)) throw error;
    return { result: await steps(), obstacle: error.message.replace(/\.$/, "") };
  }
}
