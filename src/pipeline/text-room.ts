// How much memory there is for long texts where a run will compute: asks the system and the driver. Decides nothing.

import { ProviderError } from "../errors.js";
import { freeMemory } from "../runtime/free-memory.js";
import { PROVIDERS } from "../runtime/providers.js";
import { activationBytes, planCompute } from "./compute-plan.js";
import type { TextRoom } from "./retrieval-memory.js";
import { largestPartBytes } from "./segment-plan.js";
import { planOnCores, planOnDevices, type WorkersRequest } from "./start-workers.js";

/**
 * The room for texts that are evaluated with as many caches.
 * @param request as the workers will be started with
 * @throws UsageError for a device that is not there
 */
export async function textRoom(request: WorkersRequest, caches: number): Promise<TextRoom> {
  const { decoder, provider, memory } = request;
  const free = freeMemory();
  const beside = { decoder, provider, caches, free };
  if (!PROVIDERS[provider].usesDevice) {
    const { arithmetic } = planCompute(request);
    return { ...beside, arithmetic, processes: planOnCores(request).processes, freeOnDevice: undefined };
  }
  const planned = await planOnDevices(request).catch((error: unknown) => {
    // A missing device shows again in the evaluation, where another provider may replace it.
    if (error instanceof ProviderError) return undefined;
    throw error;
  });
  const plan = planned?.plan ?? planCompute(request);
  const { arithmetic, segmentBytes, batchTokens, layerBytes } = plan;
  const isKnown = planned?.freeBytes !== undefined || memory !== undefined;
  const layer = largestPartBytes(decoder, { layerBytes, elementType: arithmetic.elementType });
  const room = segmentBytes + batchTokens * activationBytes(decoder, arithmetic) - layer;
  return { ...beside, arithmetic, processes: 1, freeOnDevice: isKnown ? room : undefined };
}
