// Generates token by token: K and V of each come into JavaScript, where the cache is stored as codes of one or two
// bytes. Works for every format and on every provider.

import { cacheSites } from "../architectures/cache-sites.js";
import { throwIfAborted } from "../errors.js";
import { codeTypeOf } from "../numerics/cache-codes.js";
import { DecodeModel } from "./decode-model.js";
import type { GenerateRequest } from "./generate-texts.js";
import type { GeneratedSequence, Generator } from "./generator.js";
import { requireCache, StoredCache } from "./stored-cache.js";

/** @throws ProviderError naming what could not be opened */
export async function openStepGenerator(request: GenerateRequest): Promise<Generator> {
  const longestPrompt = Math.max(...request.prompts.map(({ length }) => length));
  const model = await DecodeModel.open({ ...request, maxTokens: longestPrompt + request.maxNewTokens });
  return {
    timesPrompts: false,
    storedType: (cache) => codeTypeOf(requireCache(request.caches, cache).elementType),
    generate: (prompt, cache, onTokens) => generate(model, request, prompt, cache, onTokens),
    release: () => model.release(),
  };
}

async function generate(
  model: DecodeModel,
  { caches, decoder, maxNewTokens, endIds, signal }: GenerateRequest,
  prompt: readonly number[],
  number: number,
  onTokens: (count: number) => void,
): Promise<GeneratedSequence> {
  const cache = new StoredCache(caches, number, cacheSites(decoder), prompt.length + maxNewTokens);
  const tokenIds: number[] = [];
  let unread = prompt;
  let milliseconds = 0;
  let isAtEnd = false;
  while (tokenIds.length < maxNewTokens && !isAtEnd) {
    throwIfAborted(signal);
    const start = performance.now();
    const token = await model.read(unread, cache);
    if (tokenIds.length > 0) milliseconds += performance.now() - start;
    tokenIds.push(token);
    onTokens(1);
    isAtEnd = endIds.includes(token);
    unread = [token];
  }
  return {
    tokenIds,
    endedBy: isAtEnd ? "end-token" : "limit",
    cachedTokens: cache.tokens,
    bytesByLayer: cache.bytesByLayer(),
    timedTokens: tokenIds.length - 1,
    milliseconds,
  };
}
