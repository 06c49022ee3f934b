// Answers prompts greedily, token by token, through every cache that is compared, and measures what the caches store.
// Knows token ids alone: neither texts nor tokenizers.

import { throwIfAborted } from "../errors.js";
import { DecodeModel, type DecodeModelRequest } from "./decode-model.js";
import { StoredCache } from "./stored-cache.js";

export interface GenerateRequest extends Omit<DecodeModelRequest, "maxTokens"> {
  readonly prompts: readonly (readonly number[])[]; // [prompts][tokens]
  /** Most tokens that follow a prompt. */
  readonly maxNewTokens: number;
  /** Tokens that end a text. */
  readonly endIds: readonly number[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: GenerateProgress) => void) | undefined;
}

export interface GenerateProgress {
  /** Texts that are complete, and in all: prompts times caches. */
  readonly texts: number;
  readonly ofTexts: number;
  /** Tokens generated so far, in all texts. */
  readonly tokens: number;
}

export interface GeneratedIds {
  /** With the token that ended it, if one did. */
  readonly tokenIds: readonly number[];
  readonly endedBy: "end-token" | "limit";
}

export interface CacheGeneration {
  readonly texts: readonly GeneratedIds[]; // [prompts]
  /** Bytes of the stored codes over the tokens they are of, by layer. */
  readonly bytesPerToken: readonly number[]; // [layers]
  /** Without the reading of prompts. */
  readonly tokensPerSecond: number;
}

/**
 * Generates a text for every prompt through every cache.
 * @returns by cache
 * @throws CheckpointError when activations are not finite, ProviderError, InterruptedError
 */
export async function generateTexts(request: GenerateRequest): Promise<CacheGeneration[]> {
  const { prompts, caches, maxNewTokens, decoder } = request;
  throwIfAborted(request.signal);
  const maxTokens = Math.max(...prompts.map(({ length }) => length)) + maxNewTokens;
  const model = await DecodeModel.open({ ...request, maxTokens });
  const progress = new TokenCounter(request);
  try {
    const results: CacheGeneration[] = [];
    for (const [number] of caches.entries()) {
      const measured = new CacheMeasurement(decoder.layers.length);
      const texts: GeneratedIds[] = [];
      for (const prompt of prompts) {
        const cache = new StoredCache(caches, number, decoder.layers, prompt.length + maxNewTokens);
        texts.push(await generateText(model, cache, prompt, { request, measured, progress }));
        progress.textDone();
      }
      results.push({ texts, ...measured.finish() });
    }
    return results;
  } finally {
    await model.release();
  }
}

interface TextRun {
  readonly request: GenerateRequest;
  readonly measured: CacheMeasurement;
  readonly progress: TokenCounter;
}

async function generateText(
  model: DecodeModel,
  cache: StoredCache,
  prompt: readonly number[],
  { request: { maxNewTokens, endIds, signal }, measured, progress }: TextRun,
): Promise<GeneratedIds> {
  const tokenIds: number[] = [];
  let unread: readonly number[] = prompt;
  let endedBy: GeneratedIds["endedBy"] = "limit";
  while (tokenIds.length < maxNewTokens) {
    throwIfAborted(signal);
    const start = performance.now();
    const token = await model.read(unread, cache);
    if (tokenIds.length > 0) measured.addTime(performance.now() - start);
    tokenIds.push(token);
    progress.tokenDone();
    if (endIds.includes(token)) {
      endedBy = "end-token";
      break;
    }
    unread = [token];
  }
  measured.addCache(cache);
  return { tokenIds, endedBy };
}

/** Sums what the caches of all prompts stored, and the time of the steps. */
class CacheMeasurement {
  readonly #bytes: number[];
  #cachedTokens = 0;
  #steps = 0;
  #milliseconds = 0;

  constructor(layers: number) {
    this.#bytes = Array.from({ length: layers }, () => 0);
  }

  addCache(cache: StoredCache): void {
    this.#cachedTokens += cache.tokens;
    for (const [layer, bytes] of cache.bytesByLayer().entries()) this.#bytes[layer] = (this.#bytes[layer] ?? 0) + bytes;
  }

  addTime(milliseconds: number): void {
    this.#steps++;
    this.#milliseconds += milliseconds;
  }

  finish(): Pick<CacheGeneration, "bytesPerToken" | "tokensPerSecond"> {
    return {
      bytesPerToken: this.#bytes.map((bytes) => bytes / this.#cachedTokens),
      tokensPerSecond: this.#steps === 0 ? 0 : (1000 * this.#steps) / this.#milliseconds,
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

  tokenDone(): void {
    this.#tokens++;
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
