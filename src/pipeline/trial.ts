// A measured second of a run, for an estimate of all of it: the first segments are opened and run over the first
// batches until a second of computing has passed. Runs in the computing process. The results are discarded.

import type { Decoder } from "../architectures/description.js";
import { throwIfAborted } from "../errors.js";
import { hiddenTypeOf } from "../graphs/hidden-states.js";
import { buildSegment } from "../graphs/segment.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import type { Batch } from "../prompts/batches.js";
import { openSession, type Session } from "../runtime/session.js";
import { RopeTableCache } from "./batch-inputs.js";
import { runBatch, tokensOf } from "./measure-ranges.js";
import { type PassRequest, planPass } from "./pass-plan.js";
import { productsOfParts, type Segment, segmentBytes } from "./segment-plan.js";
import { SegmentStates } from "./segment-states.js";
import { storedBytes, weightLocations } from "./weight-locations.js";
import { weightsWhenOpened } from "./weights-when-opened.js";

export interface TrialRequest extends PassRequest {
  readonly tokenIds: readonly (readonly number[])[]; // [prompts][tokens]
  /** Whether everything is computed, or nothing after the last K and V. */
  readonly lastLayer: "keys-values" | "layer";
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: never) => void) | undefined;
}

/** Work is counted in multiplications by weights: tokens × elements of the weights. */
export interface Trial {
  /** The work done in `seconds`. */
  readonly work: number;
  readonly seconds: number;
  /** The work of a whole run in one pass. */
  readonly totalWork: number;
  /** The time for opening the segments of the trial, and the bytes of their weights. */
  readonly openSeconds: number;
  readonly openedBytes: number;
  /** Bytes of the weights of all segments, and of the largest. */
  readonly totalBytes: number;
  readonly largestBytes: number;
  readonly segments: number;
  /** Peak memory of this process so far. */
  readonly residentBytes: number;
}

const TRIAL_SECONDS = 1;
/** Batches for segments without matrix products, which do not show the speed of products. */
const BATCHES_ON_THE_WAY = 4;

/** @throws ProviderError, InterruptedError */
export async function tryFirstSegments(request: TrialRequest): Promise<Trial> {
  const { checkpoint, decoder, tokenIds, plan } = request;
  const { batches, segments } = planPass(request, tokenIds, request.lastLayer);
  const held = { elementType: plan.arithmetic.elementType, dequantizes: plan.dequantizes };
  const bytes = segments.map((segment) => segmentBytes(decoder, segment, held, storedBytes(checkpoint)));
  const { folder, locate } = weightLocations(checkpoint);
  const { arithmetic, provider } = plan;
  let tried = batches.slice(0, segments.length > 1 ? undefined : batches.length);
  let states = SegmentStates.of(decoder, batches, hiddenTypeOf(arithmetic));
  const done = { work: 0, seconds: 0, openSeconds: 0, openedBytes: 0 };
  for (const [index, segment] of segments.entries()) {
    if (done.seconds >= TRIAL_SECONDS) break;
    throwIfAborted(request.signal);
    const start = performance.now();
    const { parts, purpose, gives } = segment;
    const model = encodeModelProto(buildSegment(decoder, parts, locate, { arithmetic, gives }));
    const session = await openSession({
      ...{ model, externalDataFolder: folder, provider, purpose },
      ...weightsWhenOpened(plan, decoder, parts),
    });
    done.openSeconds += (performance.now() - start) / 1000;
    done.openedBytes += bytes[index] ?? 0;
    try {
      const next = states.behind(segment);
      const run = await tryBatches(session, segment, { decoder, tokenIds, batches: tried, from: states, into: next });
      states = next;
      tried = tried.slice(0, run.batches);
      done.work += run.work;
      done.seconds += run.seconds;
    } finally {
      await session.release();
    }
  }
  const products = segments.reduce((sum, { parts }) => sum + productsOfParts(parts), 0);
  const tokens = batches.reduce((sum, batch) => sum + tokensOf(batch), 0);
  return {
    ...done,
    totalWork: products * tokens,
    totalBytes: bytes.reduce((sum, some) => sum + some, 0),
    largestBytes: Math.max(0, ...bytes),
    segments: segments.length,
    residentBytes: process.resourceUsage().maxRSS * 1024,
  };
}

interface BatchesToTry {
  readonly decoder: Decoder;
  readonly tokenIds: TrialRequest["tokenIds"];
  readonly batches: readonly Batch[];
  readonly from: SegmentStates;
  readonly into: SegmentStates;
}

/** Runs batches until a second has passed. The first run of a session prepares it: it counts only when it is the only one. */
async function tryBatches(
  session: Session,
  segment: Segment,
  { decoder, tokenIds, batches, from, into }: BatchesToTry,
): Promise<{ readonly batches: number; readonly work: number; readonly seconds: number }> {
  const products = productsOfParts(segment.parts);
  const tables = new RopeTableCache(decoder);
  const runs: { readonly work: number; readonly seconds: number }[] = [];
  let seconds = 0;
  for (const [index, batch] of batches.entries()) {
    if (seconds >= TRIAL_SECONDS || (products === 0 && index === BATCHES_ON_THE_WAY)) break;
    const start = performance.now();
    await runBatch(session, segment, { index, batch, tokenIds, tables, from, into });
    const run = { work: tokensOf(batch) * products, seconds: (performance.now() - start) / 1000 };
    seconds += run.seconds;
    runs.push(run);
  }
  const counted = products === 0 ? [] : runs.length > 1 ? runs.slice(1) : runs;
  return {
    batches: runs.length,
    work: counted.reduce((sum, run) => sum + run.work, 0),
    seconds: counted.reduce((sum, run) => sum + run.seconds, 0),
  };
}
