// Answers prompts greedily through every cache that is compared, and measures what the caches store. Knows only token
// ids, no texts and no tokenizer.

import { cacheSites } from "../architectures/cache-sites.js";
import { throwIfAborted } from "../errors.js";
import type { DecodeModelRequest } from "./decode-model.js";
import type { GeneratedSequence, GenerationWay, OpenGenerator } from "./generator.js";
import { openLoopGenerator } from "./loop-generator.js";
import { openStepGenerator } from "./step-generator.js";
import { inArithmeticThatHolds } from "./wider-arithmetic.js";

export interface GenerateRequest extends Omit<DecodeModelRequest, "maxTokens"> {
  /** Steps by default. */
  readonly way?: GenerationWay | undefined;
  readonly prompts: readonly (readonly number[])[]; // [prompts][tokens]
  /** Largest number of tokens of an answer. */
  readonly maxNewTokens: number;
  /** Tokens that end a text. */
  readonly endIds: readonly number[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: GenerateProgress) => void) | undefined;
}

export interface GenerateProgress {
  /** Finished texts, and all of them: prompts times caches. */
  readonly texts: number;
  /** Texts in all. */
  readonly ofTexts: number;
  /** Tokens generated so far, in all texts. */
  readonly tokens: number;
}

export interface GeneratedIds {
  /** With the token that ended the text, if there is one. */
  readonly tokenIds: readonly number[];
  readonly endedBy: "end-token" | "limit";
}

export interface CacheGeneration {
  readonly texts: readonly GeneratedIds[]; // [prompts]
  readonly way: GenerationWay;
  /** The stored type of the cache, such as "uint8". */
  readonly storedType: string;
  /** Stored bytes per token, by layer. */
  readonly bytesPerToken: readonly number[]; // [layers]
  readonly tokensPerSecond: number;
  /** Whether the time includes reading the prompts. */
  readonly timesPrompts: boolean;
}

const WAYS: Readonly<Record<GenerationWay, OpenGenerator>> = { steps: openStepGenerator, loop: openLoopGenerator };

export interface Generated {
  readonly caches: readonly CacheGeneration[];
  readonly warnings: readonly string[];
}

/**
 * Generates a text for every prompt through every cache.
 * @throws CheckpointError when activations are not finite, ProviderError, InterruptedError
 */
export async function generateTexts(request: GenerateRequest): Promise<Generated> {
  const held = await inArithmeticThatHolds(request.plan, request.decoder, (plan) => generateOnce({ ...request, plan }));
  return { caches: held.result, warnings: held.warnings };
}

async function generateOnce(request: GenerateRequest): Promise<CacheGeneration[]> {
  const { prompts, caches, decoder, way = "steps" } = request;
  throwIfAborted(request.signal);
  const generator = await WAYS[way](request);
  const progress = new TokenCounter(request);
  try {
    const results: CacheGeneration[] = [];
    for (const [cache] of caches.entries()) {
      const measured = new CacheMeasurement(cacheSites(decoder).length);
      const texts: GeneratedIds[] = [];
      for (const prompt of prompts) {
        const sequence = await generator.generate(prompt, cache, (count) => progress.tokensDone(count));
        measured.add(sequence);
        texts.push({ tokenIds: sequence.tokenIds, endedBy: sequence.endedBy });
        progress.textDone();
      }
      const { timesPrompts } = generator;
      results.push({ texts, way, storedType: generator.storedType(cache), timesPrompts, ...measured.finish() });
    }
    return results;
  } finally {
    await generator.release();
  }
}

/** Adds up what the caches of all prompts stored, and the time. */
class CacheMeasurement {
  readonly #bytes: number[];
  #cachedTokens = 0;
  #timedTokens = 0;
  #milliseconds = 0;

  constructor(layers: number) {
    this.#bytes = Array.from({ length: layers }, () => 0);
  }

  add({ cachedTokens, bytesByLayer, timedTokens, milliseconds }: GeneratedSequence): void {
    this.#cachedTokens += cachedTokens;
    for (const [layer, bytes] of bytesByLayer.entries()) this.#bytes[layer] = (this.#bytes[layer] ?? 0) + bytes;
    this.#timedTokens += timedTokens;
    this.#milliseconds += milliseconds;
  }

  finish(): Pick<CacheGeneration, "bytesPerToken" | "tokensPerSecond"> {
    return {
      bytesPerToken: this.#bytes.map((bytes) => bytes / this.#cachedTokens),
      tokensPerSecond: this.#timedTokens === 0 ? 0 : (1000 * this.#timedTokens) / this.#milliseconds,
    };
  }
}

class TokenCounter {
  readonly #report: GenerateRequest["onProgress"];
  readonly #ofTexts: number;
  #texts = 0;
  #tokens = 0;

  constructor({ onProgress, prompts, caches }: GenerateRequest) {
    this.#report = onProgress;
    this.#ofTexts = prompts.length * caches.length;
  }

  tokensDone(count: number): void {
    this.#tokens += count;
    this.#emit();
  }

  textDone(): void {
    this.#texts++;
    this.#emit();
  }

  #emit(): void {
    this.#report?.({ texts: this.#texts, ofTexts: this.#ofTexts, tokens: this.#tokens });
  }
}
