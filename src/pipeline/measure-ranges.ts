// The forward pass that measures: every segment in turn over every batch, hidden states handed on, maxima collected.
// One segment is in memory at a time. Knows nothing of scales and formats.

import { distinctTensors, tablesOf, tensorsOfLayer, weightsAroundLayers } from "../architectures/block-facts.js";
import { cacheSites } from "../architectures/cache-sites.js";
import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { type ByteRange, readAhead } from "../checkpoint/read-ahead.js";
import { throwIfAborted } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import { residualsInMemory } from "../graphs/cut-mixture.js";
import { hiddenTypeOf } from "../graphs/hidden-states.js";
import { buildSegment, SEGMENT_VALUES } from "../graphs/segment.js";
import { cacheLayersOf, endsLayer, expertLayersOf } from "../graphs/segment-parts.js";
import { type ExpertTokens, ExpertTokensCollector } from "../numerics/expert-tokens.js";
import { type LayerRange, SideRangeCollector } from "../numerics/ranges.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import type { Batch } from "../prompts/batches.js";
import { PROVIDERS } from "../runtime/providers.js";
import { openSession, type Session } from "../runtime/session.js";
import { layerInputs, RopeTableCache, tokenInputs } from "./batch-inputs.js";
import { inExpertsThatFit } from "./experts-that-fit.js";
import { type PassRequest, planPass } from "./pass-plan.js";
import type { Segment } from "./segment-plan.js";
import { SegmentStates } from "./segment-states.js";
import { weightLocations } from "./weight-locations.js";
import { weightsWhenOpened } from "./weights-when-opened.js";
import { NotFiniteError } from "./wider-arithmetic.js";

export interface MeasureRequest extends PassRequest {
  readonly tokenIds: readonly (readonly number[])[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: MeasureProgress) => void) | undefined;
}

export interface MeasureProgress {
  /** Layers whose ranges are complete. */
  readonly layersDone: number;
  readonly layers: number;
  /** Tokens × layers computed so far, and in all. */
  readonly tokenLayersDone: number;
  readonly tokenLayers: number;
}

export interface MeasuredRanges {
  readonly ranges: LayerRange[];
  /** Of each layer whose experts were computed: those behind the last cache are not. */
  readonly experts: readonly ExpertTokens[];
  /** What was computed in. */
  readonly elementType: ComputeType;
  readonly timing: MeasureTiming;
  readonly warnings: readonly string[];
}

/** Where the time of a measurement went, in seconds of the computing process. */
export interface MeasureTiming {
  /** Building graphs and opening sessions: reading the weights, and bringing them to where they are used. */
  readonly openSeconds: number;
  /** The forward passes. */
  readonly computeSeconds: number;
}

/**
 * Measures the absmax of K and V per cache, head and prompt. Of prompts that another process has, all maxima are 0.
 * @throws CheckpointError when a K or V is not finite, ProviderError, InterruptedError
 */
export async function measureRanges(request: MeasureRequest): Promise<MeasuredRanges> {
  const held = await inExpertsThatFit(request.plan, request.decoder, (plan) => measureOnce({ ...request, plan }));
  return { ...held.result, elementType: held.plan.arithmetic.elementType, warnings: held.warnings };
}

async function measureOnce(request: MeasureRequest): Promise<Pick<MeasuredRanges, "ranges" | "experts" | "timing">> {
  const { checkpoint, decoder, tokenIds, plan } = request;
  const { arithmetic, provider } = plan;
  const { batches, segments } = planPass(request, tokenIds, "keys-values");
  const { folder, locate } = weightLocations(checkpoint);
  const collectors = new RangeCollectors(decoder, tokenIds.length);
  const experts = new ExpertTokensCollector();
  const progress = new ProgressCounter(request, batches);
  let states = SegmentStates.of(decoder, batches, hiddenTypeOf(arithmetic));
  let openSeconds = 0;
  let computeSeconds = 0;
  for (const [index, segment] of segments.entries()) {
    const { parts, purpose, gives } = segment;
    throwIfAborted(request.signal);
    const start = performance.now();
    const model = encodeModelProto(buildSegment(decoder, parts, locate, { arithmetic, gives }));
    const session = await openSession({
      ...{ model, externalDataFolder: folder, provider, purpose },
      ...weightsWhenOpened(plan, decoder, parts),
    });
    const opened = performance.now();
    openSeconds += (opened - start) / 1000;
    // While the device computes, the processor has time to fetch what comes next.
    if (PROVIDERS[provider].usesDevice) void readAhead(bytesOfSegment(checkpoint, decoder, segments[index + 1]));
    try {
      const next = states.behind(segment);
      await runSegment(session, segment, { request, batches, from: states, into: next, collectors, experts, progress });
      states = next;
      computeSeconds += (performance.now() - opened) / 1000;
    } finally {
      await session.release();
    }
    progress.segmentDone(parts);
  }
  return { ranges: collectors.finish(), experts: experts.finish(), timing: { openSeconds, computeSeconds } };
}

/** Where the weights of a segment lie. */
function bytesOfSegment({ tensors }: Checkpoint, decoder: Decoder, segment: Segment | undefined): ByteRange[] {
  const aroundLayers = distinctTensors(weightsAroundLayers(decoder)).keys();
  const namesBeforeLayers = [...tablesOf(decoder).map(({ name }) => name), ...aroundLayers];
  const names = (segment?.parts ?? []).flatMap((part) => {
    if (part.kind === "embedding") return namesBeforeLayers;
    const { layer } = part;
    const own = part.kind === "keys-values" ? layer : { ...layer, residuals: residualsInMemory(part) };
    return [...tensorsOfLayer(own).keys()];
  });
  return names.flatMap((name) => tensors.get(name) ?? []);
}

interface SegmentRun {
  readonly request: MeasureRequest;
  readonly batches: readonly Batch[];
  readonly from: SegmentStates;
  readonly into: SegmentStates;
  readonly collectors: RangeCollectors;
  readonly experts: ExpertTokensCollector;
  readonly progress: ProgressCounter;
}

/** Runs every batch through one session. */
async function runSegment(session: Session, segment: Segment, run: SegmentRun): Promise<void> {
  const { request, batches, from, into, collectors, experts, progress } = run;
  const { parts } = segment;
  const caches = cacheLayersOf(parts);
  const expertLayers = expertLayersOf(parts);
  const layers = layersOf(parts);
  const tables = new RopeTableCache(request.decoder);
  for (const [index, batch] of batches.entries()) {
    throwIfAborted(request.signal);
    const outputs = await runBatch(session, segment, { index, batch, tokenIds: request.tokenIds, tables, from, into });
    for (const layer of caches) collectors.add(layer, batch, outputs);
    for (const { layer, first } of expertLayers) {
      experts.add(layer, outputs[SEGMENT_VALUES.expertTokens(layer)] ?? new Float32Array(), first);
    }
    progress.batchDone(batch, layers);
  }
}

export interface BatchRun {
  readonly index: number;
  readonly batch: Batch;
  readonly tokenIds: MeasureRequest["tokenIds"];
  readonly tables: RopeTableCache;
  readonly from: SegmentStates;
  readonly into: SegmentStates;
}

/** Runs one batch through one segment, from the states behind the earlier one to those behind it. */
export async function runBatch(
  session: Session,
  segment: Segment,
  { index, batch, tokenIds, tables, from, into }: BatchRun,
): Promise<Awaited<ReturnType<Session["run"]>>> {
  const { parts } = segment;
  const hasLayers = parts.some(({ kind }) => kind !== "embedding");
  const inputs = {
    ...(parts[0]?.kind === "embedding" && tokenInputs(batch, tokenIds)),
    ...from.inputs(index, segment),
    ...(hasLayers && layerInputs(batch, tables.of(batch.width))),
  };
  const outputs = await session.run(inputs, into.outputs(index, segment));
  into.advance(index, segment);
  return outputs;
}

class RangeCollectors {
  readonly #sites: ReadonlyMap<number, { readonly k: SideRangeCollector; readonly v: SideRangeCollector }>;

  constructor(decoder: Decoder, prompts: number) {
    const collectors = (kvHeads: number) => ({
      k: new SideRangeCollector(kvHeads, prompts),
      v: new SideRangeCollector(kvHeads, prompts),
    });
    this.#sites = new Map(cacheSites(decoder).map(({ layer, kvHeads }) => [layer, collectors(kvHeads)]));
  }

  add(layer: number, batch: Batch, outputs: Readonly<Record<string, Float32Array>>): void {
    for (const side of ["k", "v"] as const) {
      const absmax = outputs[SEGMENT_VALUES.absmax(side, layer)] ?? new Float32Array();
      const sums = outputs[SEGMENT_VALUES.sumOfSquares(side, layer)] ?? new Float32Array();
      if (sums.some(Number.isNaN) || !absmax.every(Number.isFinite)) {
        throw new NotFiniteError(
          `Layer ${layer}: ${side.toUpperCase()} has values that are not finite (NaN or Inf). The weights are damaged, or activations overflow: no scale can be computed.`,
        );
      }
      const site = this.#sites.get(layer);
      if (site === undefined) throw new RangeError(`layer ${layer} has no cache`);
      site[side].add(absmax, batch.prompts);
    }
  }

  finish(): LayerRange[] {
    return [...this.#sites].map(([layer, { k, v }]) => ({ layer, k: k.finish(), v: v.finish() }));
  }
}

class ProgressCounter {
  readonly #report: ((progress: MeasureProgress) => void) | undefined;
  readonly #layers: number;
  readonly #tokenLayers: number;
  #layersDone = 0;
  #tokenLayersDone = 0;

  constructor({ decoder, onProgress }: MeasureRequest, batches: readonly Batch[]) {
    this.#report = onProgress;
    // Nothing is computed behind the last cache.
    this.#layers = (cacheSites(decoder).at(-1)?.layer ?? -1) + 1;
    this.#tokenLayers = this.#layers * batches.reduce((sum, batch) => sum + tokensOf(batch), 0);
    if (batches.length > 0) return;
    // Others wait to hear of this process, too.
    this.#layersDone = this.#layers;
    this.#emit();
  }

  batchDone(batch: Batch, layers: number): void {
    this.#tokenLayersDone += tokensOf(batch) * layers;
    this.#emit();
  }

  segmentDone(parts: Segment["parts"]): void {
    this.#layersDone += layersOf(parts);
    this.#emit();
  }

  #emit(): void {
    this.#report?.({
      layersDone: this.#layersDone,
      layers: this.#layers,
      tokenLayersDone: this.#tokenLayersDone,
      tokenLayers: this.#tokenLayers,
    });
  }
}

/** Layers that are complete at the end of some parts. */
function layersOf(parts: Segment["parts"]): number {
  return parts.filter(endsLayer).length;
}

export function tokensOf(batch: Batch): number {
  return batch.lengths.reduce((sum, length) => sum + length, 0);
}
