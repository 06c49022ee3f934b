// Why a text cannot be generated in a loop through the attention operator's own cache, where that is known beforehand.
// Pure; what a device or an older library cannot do shows when a session opens or runs.

import { ropeRegime } from "../architectures/rope.js";
import type { Arithmetic } from "../graphs/arithmetic.js";
import { HEAD_DIM_MULTIPLE } from "../graphs/fused-attention.js";
import { bufferTypeOf } from "../graphs/operator-cache.js";
import type { GenerateRequest } from "./generate-texts.js";

export interface LoopFacts extends Pick<GenerateRequest, "decoder" | "caches" | "prompts" | "maxNewTokens"> {
  readonly arithmetic: Arithmetic;
}

/** As the end of a sentence; undefined when nothing is in the way. */
export function loopObstacle({
  decoder: { layers, rope },
  caches,
  arithmetic,
  prompts,
  maxNewTokens,
}: LoopFacts): string | undefined {
  const unknown = caches.find((cache) => bufferTypeOf(cache, arithmetic) === undefined);
  if (unknown !== undefined) return `it does not store ${unknown.elementType}`;
  const unusual = layers.find(({ attention: { headDim } }) => headDim % HEAD_DIM_MULTIPLE !== 0);
  if (unusual !== undefined) {
    return `it stores heads of a multiple of ${HEAD_DIM_MULTIPLE}, and this model's have ${unusual.attention.headDim}`;
  }
  const regimes = prompts.flatMap(({ length }) =>
    [length, length + maxNewTokens].map((tokens) => ropeRegime(rope, tokens)),
  );
  if (new Set(regimes).size > 1) return "the rotation of its keys would depend on how many tokens there are";
  return undefined;
}
