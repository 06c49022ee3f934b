// Passes over text through many caches, one after the other on the first provider that works: what has failed once is not
// tried again, and what is compared is computed in one place. Knows no arm by its name.

import type { Decoder, ModelEnd } from "../architectures/description.js";
import { withUnchangedInput } from "../checkpoint/input-changes.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import type { CacheRounding } from "../graphs/kv-cache.js";
import type { ProviderName } from "../runtime/providers.js";
import { onFirstThatWorks } from "./choose-provider.js";
import type { EvaluatedArm, EvaluateRequest } from "./evaluate-arms.js";
import { evaluateInProcesses } from "./evaluate-in-processes.js";
import { stopAll } from "./share-work.js";
import { startWorkers } from "./start-workers.js";

/** What a pass evaluates. */
export type EvaluatedText = Pick<EvaluateRequest, "windows" | "positions">;

export interface CacheEvaluatorRequest {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly end: ModelEnd;
  readonly roundings: readonly CacheRounding[];
  readonly providers: readonly ProviderName[];
  readonly devices: readonly number[] | undefined;
  readonly memory: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (progress: { readonly what: string; readonly done: number; readonly tokens: number }) => void;
}

/** Evaluates caches, and remembers where and in what that was computed. */
export class CacheEvaluator {
  readonly #request: CacheEvaluatorRequest;
  #providers: readonly ProviderName[];
  readonly #warnings = new Set<string>();
  readonly #computedIn = new Set<ComputeType>();

  constructor(request: CacheEvaluatorRequest) {
    this.#request = request;
    this.#providers = request.providers;
  }

  /** Where it computed last, or would compute first. */
  get provider(): ProviderName {
    return this.#providers[0] ?? "cpu";
  }

  /** What it computed in so far. */
  get computedIn(): readonly ComputeType[] {
    return [...this.#computedIn];
  }

  /** Of all passes so far, each once. */
  get warnings(): readonly string[] {
    return [...this.#warnings];
  }

  /**
   * Evaluates caches over a text.
   * @param what for the progress
   * @param arms the number of the rounding of each cache [arms][sites]; the first arm is the baseline
   * @throws CheckpointError, ProviderError, InterruptedError
   */
  async evaluate(what: string, arms: EvaluateRequest["arms"], text: EvaluatedText): Promise<readonly EvaluatedArm[]> {
    const { result, provider, warnings } = await withUnchangedInput(this.#request.checkpoint, () =>
      onFirstThatWorks(this.#providers, (provider) => this.#evaluateOn(provider, what, arms, text)),
    );
    this.#providers = [provider];
    for (const warning of [...warnings, ...result.warnings]) this.#warnings.add(warning);
    this.#computedIn.add(result.elementType);
    return result.arms;
  }

  async #evaluateOn(
    provider: ProviderName,
    what: string,
    arms: EvaluateRequest["arms"],
    { windows, positions }: EvaluatedText,
  ) {
    const { checkpoint, decoder, end, roundings, devices, memory, signal, onProgress } = this.#request;
    const tokens = windows.reduce((sum, window) => sum + window.length, 0);
    const workers = await startWorkers({ provider, devices, checkpoint, decoder, memory, tokens, signal });
    try {
      return await evaluateInProcesses(workers, {
        ...{ checkpoint, decoder, end, windows, positions, signal, roundings, arms },
        onProgress: ({ done }) => onProgress({ what, done, tokens }),
      });
    } finally {
      stopAll(workers);
    }
  }
}
