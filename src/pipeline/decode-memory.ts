// Checks that a whole model fits into memory. Only generating needs that: everything else keeps one segment at a time.

import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { ProviderError, UsageError } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import { freeMemory } from "../runtime/free-memory.js";
import { decoderBytes } from "./segment-plan.js";
import type { HeldWeights } from "./weight-bytes.js";
import { storedBytes } from "./weight-locations.js";

/** Memory for ONNX Runtime, Node, a session that opens and the activations of a step, beside the weights. */
export const RUNTIME_BYTES = 512 * 2 ** 20;

/**
 * Refuses a model that does not fit.
 * @param limit bytes for its weights; undefined: what is free
 * @param free bytes that this process and its children can still use
 * @throws UsageError when it exceeds the limit, ProviderError when memory is short
 */
export function requireMemoryForModel(
  checkpoint: Checkpoint,
  decoder: Decoder,
  limit: number | undefined,
  free: number = freeMemory(),
): void {
  const weights = weightsOf(checkpoint, decoder, { elementType: "float32", dequantizes: "when-opened" });
  const needs = `--generate keeps the whole model in memory: ${formatSize(weights)} of weights, as float32`;
  if (limit !== undefined && weights > limit) {
    throw new UsageError(`${needs}; --memory allows ${formatSize(limit)}. Raise it, or leave out --generate.`);
  }
  if (weights + RUNTIME_BYTES > free) {
    throw new ProviderError(
      `${needs}, and ${formatSize(RUNTIME_BYTES)} beside them; ${formatSize(free)} are free. Free memory, or leave out --generate.`,
    );
  }
}

/**
 * Refuses a model that does not fit onto a device.
 * @param room bytes for its weights on the device
 * @throws ProviderError
 */
export function requireDeviceMemoryForModel(
  checkpoint: Checkpoint,
  decoder: Decoder,
  elementType: ComputeType,
  room: number,
): void {
  const weights = weightsOf(checkpoint, decoder, { elementType });
  if (weights <= room) return;
  throw new ProviderError(
    `--generate keeps the whole model on the device: ${formatSize(weights)} of weights, as ${elementType}; there is room for ${formatSize(room)}. Give more --memory, another --device, or --provider cpu.`,
  );
}

/** The output head is always computed in float32. */
function weightsOf(checkpoint: Checkpoint, decoder: Decoder, held: HeldWeights): number {
  return decoderBytes(decoder, held, storedBytes(checkpoint)) + 4 * decoder.vocabularySize * decoder.hiddenSize;
}

/** Such as "512.0 MiB", for messages. */
export function formatSize(bytes: number): string {
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
