// The first run on a device pays for its context, its libraries and their kernels. A layer over tokens of nothing pays for
// them while others still tokenize. Gives no result.

import { attentionOf } from "../architectures/cache-sites.js";
import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { hiddenTypeOf } from "../graphs/hidden-states.js";
import { buildSegment } from "../graphs/segment.js";
import { crossingInto, type SegmentPart } from "../graphs/segment-parts.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import type { Batch } from "../prompts/batches.js";
import { openSession } from "../runtime/session.js";
import { layerInputs, RopeTableCache } from "./batch-inputs.js";
import type { ComputePlan } from "./compute-plan.js";
import { partsOfLayer } from "./segment-plan.js";
import { SegmentStates } from "./segment-states.js";
import { weightLocations } from "./weight-locations.js";
import { weightsWhenOpened } from "./weights-when-opened.js";

export interface WarmUpRequest {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly plan: ComputePlan;
}

/** Enough for the kernels that large batches take, few enough to cost nothing. */
const WARM_UP_ROWS = 8;
const WARM_UP_WIDTH = 512;

/** @throws ProviderError: what comes after meets it, too, and has more to say about it */
export async function warmUp({ checkpoint, decoder, plan }: WarmUpRequest): Promise<void> {
  const layer = decoder.layers.find((each) => attentionOf(each) !== undefined);
  if (layer === undefined) return;
  const { arithmetic, provider } = plan;
  const { folder: externalDataFolder, locate } = weightLocations(checkpoint);
  const limits = { ...plan, elementType: arithmetic.elementType };
  const parts: readonly SegmentPart[] = partsOfLayer(layer, limits).slice(0, 1);
  const model = encodeModelProto(buildSegment(decoder, parts, locate, { arithmetic }));
  const purpose = `layer ${layer.index}, to warm up`;
  const opening = weightsWhenOpened(plan, decoder, parts);
  const session = await openSession({ model, externalDataFolder, provider, purpose, ...opening });
  try {
    const batch = emptyBatch(plan.batchTokens);
    const crossing = { parts, reads: crossingInto(parts), gives: [], readLater: [] };
    const states = SegmentStates.of(decoder, [batch], hiddenTypeOf(arithmetic), crossing.reads);
    const tables = new RopeTableCache(decoder).of(batch.width);
    await session.run({ ...states.inputs(0, crossing), ...layerInputs(batch, tables) }, states.outputs(0, crossing));
  } finally {
    await session.release();
  }
}

function emptyBatch(batchTokens: number): Batch {
  const width = Math.min(WARM_UP_WIDTH, batchTokens);
  const rows = Math.min(WARM_UP_ROWS, Math.floor(batchTokens / width));
  const prompts = Array.from({ length: rows }, (_, row) => row);
  return { prompts, lengths: prompts.map(() => width), width };
}
