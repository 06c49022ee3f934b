// How much memory long texts take while they are evaluated: hidden states of every cache, and what a layer holds of a whole
// text, which is one batch. Pure arithmetic on sizes, as far as a limit can be known; opens nothing.

import { factsOf } from "../architectures/block-facts.js";
import { blocksOf, type Decoder } from "../architectures/description.js";
import { formatCount } from "../counted.js";
import { ProviderError } from "../errors.js";
import type { Arithmetic } from "../graphs/arithmetic.js";
import { hiddenTypeOf } from "../graphs/hidden-states.js";
import { scoreBytes } from "../graphs/score-bytes.js";
import { hiddenWidth } from "../graphs/segment-parts.js";
import { PROVIDERS, type Provider, type ProviderName } from "../runtime/providers.js";
import { activationBytes } from "./compute-plan.js";
import { formatSize, RUNTIME_BYTES } from "./decode-memory.js";
import { BYTES_OF_COMPUTE_TYPE } from "./weight-bytes.js";

/** Where and how texts are evaluated, and what there is. */
export interface TextRoom {
  readonly decoder: Decoder;
  readonly provider: ProviderName;
  readonly arithmetic: Arithmetic;
  /** Number of caches that are compared. */
  readonly caches: number;
  /** Texts that are evaluated at the same time. */
  readonly processes: number;
  /** Bytes that this process and its children can still use. */
  readonly free: number;
  /** Bytes on a device for what a layer holds of a text; undefined where that is not known, or there is none. */
  readonly freeOnDevice: number | undefined;
}

export interface TextBytes {
  /** Hidden states of all texts between two segments. */
  readonly states: number;
  /** What a layer holds of the longest text. */
  readonly inside: number;
}

/**
 * What a token of a long text takes beside activations and scores, whatever the model. Measured as peaks of the computing
 * process on the CPU: the example with 4,096 to 16,384 tokens, and SmolLM2-135M with 2,022 and 8,153, take between 0.76
 * and 0.95 of what is estimated with it.
 */
const BYTES_BESIDE = 32 * 2 ** 10;

/** Lengths are multiples of this where memory decides them. */
const STEP_TOKENS = 256;

/**
 * Bytes for texts of so many tokens.
 * @param tokens of all texts
 * @param longest tokens of the longest
 */
export function bytesOfTexts(
  { decoder, arithmetic, caches }: Pick<TextRoom, "decoder" | "arithmetic" | "caches">,
  tokens: number,
  longest: number,
): TextBytes {
  const typeBytes = hiddenTypeOf(arithmetic) === "float16" ? 2 : 4;
  return {
    // Each cache has its own, and writes those of one text beside them.
    states: caches * (tokens + longest) * hiddenWidth(decoder) * typeBytes,
    inside: longest * (activationBytes(decoder, arithmetic) + BYTES_BESIDE) + scoreBytes(decoder, arithmetic, longest),
  };
}

/** Whether they fit; buffers of devices have a largest size, too. */
function fits(room: TextRoom, tokens: number, longest: number): boolean {
  const { decoder, provider, arithmetic, processes, free, freeOnDevice } = room;
  const { states, inside } = bytesOfTexts(room, tokens, longest);
  const { usesDevice, maxBufferBytes = Number.POSITIVE_INFINITY }: Provider = PROVIDERS[provider];
  if (!usesDevice) return RUNTIME_BYTES + states + processes * inside <= free;
  const widest = Math.max(
    decoder.hiddenSize,
    ...decoder.layers.flatMap((layer) => blocksOf(layer).map((block) => factsOf(block).widest)),
  );
  return (
    states <= free &&
    inside <= (freeOnDevice ?? Number.POSITIVE_INFINITY) &&
    longest * widest * BYTES_OF_COMPUTE_TYPE[arithmetic.elementType] <= maxBufferBytes
  );
}

/** Tokens of the longest text that fits, at most `most`; 0 when none does. */
export function longestThatFits(room: TextRoom, most: number): number {
  if (fits(room, most, most)) return most;
  let [few, many] = [0, Math.ceil(most / STEP_TOKENS)];
  while (many - few > 1) {
    const middle = Math.floor((few + many) / 2);
    if (fits(room, middle * STEP_TOKENS, middle * STEP_TOKENS)) few = middle;
    else many = middle;
  }
  return few * STEP_TOKENS;
}

/**
 * Refuses texts that do not fit.
 * @param tokens of all texts
 * @param longest tokens of the longest
 * @throws ProviderError with what they need, what there is, and what would fit
 */
export function requireMemoryForTexts(room: TextRoom, tokens: number, longest: number): void {
  if (fits(room, tokens, longest)) return;
  const { states, inside } = bytesOfTexts(room, tokens, longest);
  const { caches, processes, free, freeOnDevice, provider } = room;
  const onDevice = PROVIDERS[provider].usesDevice;
  const [layers, there] = onDevice
    ? [inside, freeOnDevice === undefined ? "" : ` (${formatSize(freeOnDevice)} on the device)`]
    : [processes * inside, ""];
  const beside = onDevice ? "" : `, and ${formatSize(RUNTIME_BYTES)} for the program`;
  const shorter = longestThatFits(room, longest);
  const advice = shorter > 0 ? `Write --retrieval-tokens ${shorter} or less` : "Leave out --retrieval";
  throw new ProviderError(
    `--retrieval: texts of up to ${formatCount(longest)} tokens need about ${formatSize(layers)} in a layer and ${formatSize(states)} for hidden states of ${caches} caches${beside}; ${formatSize(free)} are free${there}. ${advice}, compare fewer caches (--arms), or free memory.`,
  );
}
