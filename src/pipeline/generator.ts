// The interface of a generator: takes a prompt and the number of a cache, gives the text, both as token ids, and what
// the cache stored. There are two: token by token, and in one run of a graph. Only types are here.

import type { GeneratedIds, GenerateRequest } from "./generate-texts.js";
import { NotFiniteError } from "./wider-arithmetic.js";

/** steps: token by token with codes in JavaScript; loop: inside the graph with the attention operator's own cache. */
export type GenerationWay = "steps" | "loop";

/** A text, and what its cache stored at the end. */
export interface GeneratedSequence extends GeneratedIds {
  /** Tokens whose K and V are stored: all but the last. */
  readonly cachedTokens: number;
  /** Bytes of K and V of these tokens together. */
  readonly bytesByLayer: readonly number[]; // [layers]
  /** Number of tokens that the time is for: without the first, if reading the prompt is not included. */
  readonly timedTokens: number;
  readonly milliseconds: number;
}

/** A model in memory with its caches. Takes one prompt at a time. */
export interface Generator {
  /**
   * Continues a prompt greedily.
   * @param cache number of the cache in the request; it is fastest to do all prompts of a cache in a row
   * @throws CheckpointError when activations are not finite, ProviderError, InterruptedError
   */
  generate(prompt: readonly number[], cache: number, onTokens: (count: number) => void): Promise<GeneratedSequence>;
  /** The stored type of the cache, such as "uint8". */
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
