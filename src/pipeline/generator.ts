// What generates: prompt in, text through one of the caches out, both as token ids, and what the cache stored. Two ways
// do it, token by token or in one run of the graph; whoever asks need not know which. What both say of their work is here,
// and none of the work.

import type { GeneratedIds, GenerateRequest } from "./generate-texts.js";
import { NotFiniteError } from "./wider-arithmetic.js";

/** Token by token through codes in JavaScript; or in a loop inside the graph, through the attention operator's own cache. */
export type GenerationWay = "steps" | "loop";

/** One text, and what its cache held when it was complete. */
export interface GeneratedSequence extends GeneratedIds {
  /** Tokens whose K and V are stored: all but the last. */
  readonly cachedTokens: number;
  /** Of K and V of these tokens together. */
  readonly bytesByLayer: readonly number[]; // [layers]
  /** Tokens that the time was taken over; without the first, where the reading of the prompt is not in it. */
  readonly timedTokens: number;
  readonly milliseconds: number;
}

/** A model in memory, and its caches. One prompt at a time. */
export interface Generator {
  /**
   * Continues a prompt greedily.
   * @param cache number of the cache among the request's; prompts of one cache best come one after the other
   * @throws CheckpointError when activations are not finite, ProviderError, InterruptedError
   */
  generate(prompt: readonly number[], cache: number, onTokens: (count: number) => void): Promise<GeneratedSequence>;
  /** What the cache consists of, such as "uint8". */
  storedType(cache: number): string;
  /** Whether the reading of prompts is in the time. */
  readonly timesPrompts: boolean;
  release(): Promise<void>;
}

/** @throws ProviderError naming what could not be opened */
export type OpenGenerator = (request: GenerateRequest) => Promise<Generator>;

export function notFiniteWhileGenerating(): NotFiniteError {
  return new NotFiniteError(
    "The model's activations are not finite (NaN or Inf) while it generates. The weights are damaged, or activations overflow.",
  );
}
