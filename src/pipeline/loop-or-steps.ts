// Chooses the generator: the loop, unless there is an obstacle or it fails with a provider's error; then steps. Does
// not know models or devices.

import { CheckpointError, ProviderError } from "../errors.js";

export interface Ways<Result> {
  /** The known obstacle to the loop, as the end of a sentence. */
  readonly obstacle: string | undefined;
  readonly loop: () => Promise<Result>;
  readonly steps: () => Promise<Result>;
}

export interface LoopOrSteps<Result> {
  readonly result: Result;
  /** Why it is not the loop. */
  readonly obstacle: string | undefined;
}

/** @throws errors of steps, and errors of the loop other than its provider's */
export async function loopOrSteps<Result>({ obstacle, loop, steps }: Ways<Result>): Promise<LoopOrSteps<Result>> {
  if (obstacle !== undefined) return { result: await steps(), obstacle };
  try {
    return { result: await loop(), obstacle };
  } catch (error) {
    // Activations that are not finite may be the operator's fault. If they are the model's, steps throw the same error.
    if (!(error instanceof ProviderError) && !(error instanceof CheckpointError)) throw error;
    return { result: await steps(), obstacle: error.message.replace(/\.$/, "") };
  }
}
