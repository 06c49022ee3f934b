// How a run computes: on which provider, in which arithmetic, how much of the model at a time, how many tokens at a time.
// Pure arithmetic on sizes; opens nothing.

import { type BlockFacts, distinctWeights, factsOf } from "../architectures/block-facts.js";
import { blocksOf, type Decoder } from "../architectures/description.js";
import type { Experts } from "../architectures/experts.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import type { Arithmetic, ComputeType } from "../graphs/arithmetic.js";
import { STACKED_COPIES, stackableMixtures, stackedActivations, stackedTokens } from "../graphs/stacked-experts.js";
import { PROVIDERS, type Provider, type ProviderName, type StoredType } from "../runtime/providers.js";
import { BYTES_OF_COMPUTE_TYPE, type HeldWeights, stackedBytes } from "./weight-bytes.js";

export interface ComputePlan {
  readonly provider: ProviderName;
  readonly arithmetic: Arithmetic;
  /** Bytes of weights in memory at a time; at least one layer is, or one of the parts that a large one is cut into. */
  readonly segmentBytes: number;
  /** Bytes of a layer up to which it stays whole: the experts of a larger one are cut into parts of as many. */
  readonly layerBytes: number;
  /** Rows × width of a batch. */
  readonly batchTokens: number;
  /** When quantized weights become numbers. */
  readonly dequantizes: NonNullable<HeldWeights["dequantizes"]>;
}

export interface PlanRequest {
  readonly provider: ProviderName;
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  /** What the user allows: weights on the CPU, all that the run takes of a device's memory elsewhere. */
  readonly memory?: number | undefined;
  /** Free bytes of the device, when they are known. */
  readonly freeDeviceMemory?: number | undefined;
  /** Approximate number of tokens of the whole run. */
  readonly tokens?: number | undefined;
}

/** What a context and the workspaces of matrix products take of a device, whatever is computed. */
const DEVICE_OVERHEAD_BYTES = 1.25 * 2 ** 30;
/** Of free memory, what a run takes at most: others may want some, too. */
const SHARE_OF_FREE = 0.92;
/** Allocators take memory in growing pieces and give none back while a session lives. */
const ALLOCATOR_FACTOR = 2;
const MIN_BATCH_TOKENS = 512;
/** The state of a recurrence takes as much for a short prompt as for a long one. No batch has more states than prompts of this length. */
const TOKENS_PER_STATE = 64;
/** Where nobody sets a limit. Every part of a layer costs a pass over all tokens beside its experts, so small ones are slow. */
const DEFAULT_LAYER_BYTES = 512 * 2 ** 20;

/**
 * On the processor, making numbers of codes takes about as long in a run as when a session opens. With more batches it is
 * done once, for four times the memory.
 */
const BATCHES_WORTH_OPENING = 2;

/** Plans a run. */
export function planCompute(request: PlanRequest): ComputePlan {
  const { provider, checkpoint, decoder, memory, freeDeviceMemory, tokens = 0 } = request;
  const entry: Provider = PROVIDERS[provider];
  const arithmetic = entry.arithmetic[storedTypeOf(checkpoint, decoder)];
  const limit = memory ?? (freeDeviceMemory === undefined ? undefined : SHARE_OF_FREE * freeDeviceMemory);
  let batchTokens = tokensThatFit(entry, decoder, arithmetic);
  if (!entry.usesDevice || limit === undefined) {
    const segmentBytes = limit ?? entry.defaultSegmentBytes;
    const layerBytes = limit ?? Math.max(segmentBytes, defaultLayerBytes());
    return { provider, arithmetic, segmentBytes, layerBytes, batchTokens, dequantizes: dequantizes(batchTokens) };
  }
  const fixed = DEVICE_OVERHEAD_BYTES + stackBytes(decoder, arithmetic);
  const room = () => limit - fixed - batchTokens * activationBytes(decoder, arithmetic);
  while (batchTokens > MIN_BATCH_TOKENS && room() < limit / 2) {
    batchTokens = Math.max(MIN_BATCH_TOKENS, Math.floor(batchTokens / 2));
  }
  const segmentBytes = Math.max(1, Math.floor(room()));
  const layerBytes = segmentBytes;
  return { provider, arithmetic, segmentBytes, layerBytes, batchTokens, dequantizes: dequantizes(batchTokens) };

  function dequantizes(batch: number): ComputePlan["dequantizes"] {
    const when = entry.dequantizes;
    if (when !== "in-each-run-of-few") return when;
    return tokens > BATCHES_WORTH_OPENING * batch ? "when-opened" : "in-each-run";
  }
}

/** Up to which size a layer stays whole where segments are filled no further than to a lower one. */
export function defaultLayerBytes(memory = Number.POSITIVE_INFINITY): number {
  return Math.min(memory, DEFAULT_LAYER_BYTES);
}

/** Prompts of a batch at most: where layers keep states, each prompt has its own in memory. */
export function mostRows(decoder: Decoder, { batchTokens }: Pick<ComputePlan, "batchTokens">): number {
  const hasStates = factsOfBlocks(decoder).some(({ state }) => state !== undefined);
  return hasStates ? Math.max(1, Math.floor(batchTokens / TOKENS_PER_STATE)) : Number.POSITIVE_INFINITY;
}

/** The dtype that the weights are stored in; the embedding stands for all. */
export function storedTypeOf({ tensors }: Checkpoint, { embedding }: Decoder): StoredType {
  const dtype = tensors.get(embedding.weight)?.dtype;
  return dtype === "F16" || dtype === "F32" ? dtype : "BF16";
}

/** As many tokens as the provider likes, but for the widest activation to fit into a buffer of the size it allows. */
function tokensThatFit({ batchTokens, maxBufferBytes }: Provider, decoder: Decoder, arithmetic: Arithmetic): number {
  const widest = Math.max(decoder.hiddenSize, ...factsOfBlocks(decoder).map(({ widest }) => widest));
  const fitting = Math.floor(
    (maxBufferBytes ?? Number.POSITIVE_INFINITY) / (widest * BYTES_OF_COMPUTE_TYPE[arithmetic.elementType]),
  );
  const ofExperts = stackedMixtures(decoder, arithmetic).map(stackedTokens);
  return Math.max(MIN_BATCH_TOKENS, Math.min(batchTokens, fitting, ...ofExperts));
}

/** That float32 weights lost bits in what was computed in: providers of devices have no kernels, or no use, for them. */
export function narrowingWarnings(stored: StoredType, computedIn: readonly ComputeType[]): string[] {
  const narrower = computedIn.filter((type) => type !== "float32");
  if (stored !== "F32" || narrower.length === 0) return [];
  const types = narrower.join(" and ");
  return [`The weights are float32, but the computation was in ${types}; --provider cpu keeps float32.`];
}

/** Bytes per token that a block's activations take at their most, beside the residual stream. */
export function activationBytes(decoder: Decoder, arithmetic: Arithmetic): number {
  const bytes = BYTES_OF_COMPUTE_TYPE[arithmetic.elementType];
  const stacked = stackedMixtures(decoder, arithmetic).map((block) => bytes * stackedActivations(block));
  const ofBlocks = factsOfBlocks(decoder).map(
    ({ activations, state = 0 }) => bytes * activations + (BYTES_OF_COMPUTE_TYPE.float32 * state) / TOKENS_PER_STATE,
  );
  return ALLOCATOR_FACTOR * (Math.max(...stacked, ...ofBlocks) + 4 * bytes * decoder.hiddenSize);
}

/** Bytes that copies of a mixture's weights take in each run, where they are stacked. */
function stackBytes(decoder: Decoder, arithmetic: Arithmetic): number {
  const mixtures = stackedMixtures(decoder, arithmetic).map((block) => distinctWeights([{ branches: [{ block }] }]));
  return Math.max(0, ...mixtures.map((weights) => stackedBytes(weights, arithmetic.elementType, STACKED_COPIES)));
}

function stackedMixtures(decoder: Decoder, { experts }: Arithmetic): Experts[] {
  return experts === "stacked" ? stackableMixtures(decoder) : [];
}

function factsOfBlocks({ layers }: Decoder): BlockFacts[] {
  return layers.flatMap((layer) => blocksOf(layer).map(factsOf));
}
