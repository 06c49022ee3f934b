// Why a text cannot be generated in a loop with the attention operator's own cache, as far as that is known beforehand.
// Pure; other obstacles, of a device or an older library, show when a session opens or runs.

import { cacheSites } from "../architectures/cache-sites.js";
import { ropeRegimes } from "../architectures/rope.js";
import type { Arithmetic } from "../graphs/arithmetic.js";
import { HEAD_DIM_MULTIPLE } from "../graphs/fused-attention.js";
import { bufferTypeOf } from "../graphs/operator-cache.js";
import type { GenerateRequest } from "./generate-texts.js";

export interface LoopFacts extends Pick<GenerateRequest, "decoder" | "caches" | "prompts" | "maxNewTokens"> {
  readonly arithmetic: Arithmetic;
}

/** The obstacle as the end of a sentence; undefined when there is none. */
export function loopObstacle({ decoder, caches, arithmetic, prompts, maxNewTokens }: LoopFacts): string | undefined {
  const unknown = caches.find((cache) => bufferTypeOf(cache, arithmetic) === undefined);
  if (unknown !== undefined) return `it does not store ${unknown.elementType}`;
  if (decoder.quantization !== undefined) return "it takes only weights that are not quantized";
  const sites = cacheSites(decoder);
  const unusual = sites.find(({ keyDim }) => keyDim % HEAD_DIM_MULTIPLE !== 0);
  if (unusual !== undefined) {
    return `it stores heads of a multiple of ${HEAD_DIM_MULTIPLE}, and this model's have ${unusual.keyDim}`;
  }
  if (sites.some(({ keyDim, valueDim }) => keyDim !== valueDim)) return "it stores heads of K and V of one size only";
  if (decoder.embedding.positions !== undefined) return "it embeds no learned positions";
  if (decoder.ropes.length === 0) return "it counts positions by the rotation, and this model has none";
  const regimes = prompts.flatMap(({ length }) =>
    [length, length + maxNewTokens].map((tokens) => ropeRegimes(decoder.ropes, tokens)),
  );
  if (new Set(regimes).size > 1) return "the rotation of its keys would depend on how many tokens there are";
  return undefined;
}
