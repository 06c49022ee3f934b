// The forward pass that verifies: every segment in turn over every batch and arm. Arms differ in what their caches keep,
// layer by layer; where two have kept the same so far, they share their hidden states. Knows nothing of verdicts.

import { cacheSites } from "../architectures/cache-sites.js";
import type { Decoder, ModelEnd } from "../architectures/description.js";
import { throwIfAborted } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import { hiddenTypeOf } from "../graphs/hidden-states.js";
import type { CacheRounding, Side } from "../graphs/kv-cache.js";
import { buildSegment, SEGMENT_VALUES } from "../graphs/segment.js";
import { cacheLayersOf, layersWithCacheBehind } from "../graphs/segment-parts.js";
import type { ArmPositions } from "../metrics/arm-metrics.js";
import type { FidelitySums } from "../metrics/cache-fidelity.js";
import { encodeModelProto } from "../onnx/model-proto.js";
import type { Batch } from "../prompts/batches.js";
import { openSession, type Session } from "../runtime/session.js";
import { layerInputs, RopeTableCache, tokenInputs } from "./batch-inputs.js";
import { evaluatedIn, evaluateHead } from "./evaluate-head.js";
import { inExpertsThatFit } from "./experts-that-fit.js";
import { tokensOf } from "./measure-ranges.js";
import { type PassRequest, planPass } from "./pass-plan.js";
import { productsOfParts, type Segment } from "./segment-plan.js";
import { SegmentStates } from "./segment-states.js";
import { weightLocations } from "./weight-locations.js";
import { weightsWhenOpened } from "./weights-when-opened.js";
import { NotFiniteError } from "./wider-arithmetic.js";

export interface EvaluateRequest extends PassRequest {
  readonly end: ModelEnd;
  readonly windows: readonly (readonly number[])[]; // [windows][tokens]
  /** The positions to look at, ascending; default: every token but the last of each window, which predict the next. */
  readonly positions?: readonly (readonly number[])[] | undefined; // [windows][positions]
  readonly roundings: readonly CacheRounding[];
  /** Number of the rounding that each cache has, in the order of sites. The first arm is the baseline. */
  readonly arms: readonly (readonly number[])[]; // [arms][sites]
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: EvaluateProgress) => void) | undefined;
}

export interface EvaluateProgress {
  /** Of all the work of this pass, from 0 to 1. */
  readonly done: number;
  /** Tokens of the windows that are evaluated. */
  readonly tokens: number;
}

export interface EvaluatedArm {
  readonly positions: ArmPositions;
  /** In the order of sites. */
  readonly layers: readonly Readonly<Record<Side, FidelitySums>>[];
}

export interface Evaluation {
  readonly arms: readonly EvaluatedArm[];
  /** Numbers of the windows whose positions the arms have, ascending: all, or those of the share. */
  readonly windows: readonly number[];
  /** What was computed in. */
  readonly elementType: ComputeType;
  readonly warnings: readonly string[];
}

/**
 * Evaluates all arms over all windows.
 * @throws CheckpointError when activations are not finite, ProviderError, InterruptedError
 */
export async function evaluateArms(request: EvaluateRequest): Promise<Evaluation> {
  const held = await inExpertsThatFit(request.plan, request.decoder, (plan) => evaluateOnce({ ...request, plan }));
  return { ...held.result, elementType: held.plan.arithmetic.elementType, warnings: held.warnings };
}

async function evaluateOnce(request: EvaluateRequest): Promise<Pick<Evaluation, "arms" | "windows">> {
  const { checkpoint, decoder, windows, plan, arms } = request;
  const { arithmetic, provider } = plan;
  const { batches, segments } = planPass(request, windows, "layer");
  const evaluated = batches.flatMap(({ prompts }) => prompts).toSorted((a, b) => a - b);
  const { folder, locate } = weightLocations(checkpoint);
  const losses = arms.map(() => new LossCollector(decoder));
  const start = SegmentStates.of(decoder, batches, hiddenTypeOf(arithmetic));
  let states: readonly SegmentStates[] = arms.map(() => start);
  const progress = new WorkCounter(request, batches, segments);
  for (const segment of segments) {
    throwIfAborted(request.signal);
    const model = encodeModelProto(
      buildSegment(decoder, segment.parts, locate, {
        ...{ roundings: request.roundings, arithmetic, gives: segment.gives },
      }),
    );
    const session = await openSession({
      ...{ model, externalDataFolder: folder, provider, purpose: segment.purpose },
      ...weightsWhenOpened(plan, decoder, segment.parts),
    });
    try {
      states = await runSegment(session, segment, { request, batches, states, losses, progress });
    } finally {
      await session.release();
    }
  }
  const onTile = (share: number) => progress.headDone(share);
  const positions = await evaluateHead({ ...request, evaluated, states: states.map(({ hidden }) => hidden), onTile });
  const finished = positions.map((armPositions, arm) => ({
    positions: armPositions,
    layers: losses[arm]?.finish() ?? [],
  }));
  return { arms: finished, windows: evaluated };
}

interface SegmentRun {
  readonly request: EvaluateRequest;
  readonly batches: readonly Batch[];
  /** By arm; arms that have kept the same so far have the same object. */
  readonly states: readonly SegmentStates[];
  readonly losses: readonly LossCollector[];
  readonly progress: WorkCounter;
}

/** Runs a segment for every group of arms that keep the same up to its end. Gives back the states by arm. */
async function runSegment(session: Session, segment: Segment, run: SegmentRun): Promise<SegmentStates[]> {
  const { request, states } = run;
  const { decoder } = request;
  const next = [...states];
  const groups = groupArms(request.arms, sitesUpTo(decoder, segment));
  for (const [number, group] of groups.entries()) {
    const from = states[group[0] ?? 0] as SegmentStates;
    // The last group that reads these states may write over them; the others need states of their own.
    const isNeededLater = groups.slice(number + 1).some((other) => states[other[0] ?? 0] === from);
    const into = from.behind(segment, isNeededLater);
    await runGroup(session, segment, group, { from, into }, run);
    for (const arm of group) next[arm] = into;
  }
  return next;
}

async function runGroup(
  session: Session,
  segment: Segment,
  group: readonly number[],
  { from, into }: { readonly from: SegmentStates; readonly into: SegmentStates },
  { request, batches, losses, progress }: SegmentRun,
): Promise<void> {
  const { decoder, arms, windows } = request;
  const { parts } = segment;
  const layers = cacheLayersOf(parts);
  const sites = cacheSites(decoder).map(({ layer }) => layer);
  const choices = Int32Array.from(layers, (layer) => roundingAt(arms[group[0] ?? 0], sites.indexOf(layer)));
  const tables = new RopeTableCache(decoder);
  for (const [index, batch] of batches.entries()) {
    throwIfAborted(request.signal);
    const startsWithIds = parts[0]?.kind === "embedding";
    const inputs = {
      ...(startsWithIds && tokenInputs(batch, windows)),
      ...from.inputs(index, segment),
      ...(parts.some(({ kind }) => kind !== "embedding") && layerInputs(batch, tables.of(batch.width))),
      ...(layers.length > 0 && {
        [SEGMENT_VALUES.roundings]: { type: "int32", data: choices, shape: [layers.length] } as const,
      }),
    };
    const outputs = await session.run(inputs, into.outputs(index, segment));
    into.advance(index, segment);
    for (const layer of layers) for (const arm of group) losses[arm]?.add(layer, batch, outputs);
    progress.batchDone(batch, parts, group.length);
  }
}

function roundingAt(arm: readonly number[] | undefined, site: number): number {
  const rounding = arm?.[site];
  if (rounding === undefined) throw new RangeError(`an arm says nothing of cache ${site}`);
  return rounding;
}

/** How many caches are written up to the end of a segment. */
function sitesUpTo(decoder: Decoder, { parts }: Segment): number {
  const next = layersWithCacheBehind(parts);
  return cacheSites(decoder).filter(({ layer }) => layer < next).length;
}

/** Arms whose roundings are equal in the first caches. */
function groupArms(arms: readonly (readonly number[])[], sites: number): number[][] {
  const groups = new Map<string, number[]>();
  for (const [arm, roundings] of arms.entries()) {
    const key = roundings.slice(0, sites).join();
    groups.set(key, [...(groups.get(key) ?? []), arm]);
  }
  return [...groups.values()];
}

/** Sums what the caches of one arm lost. */
class LossCollector {
  readonly #sites: ReadonlyMap<number, Record<Side, SideSums>>;

  constructor(decoder: Decoder) {
    const none = (width: number) => {
      return { width, sums: { elements: 0, signal: 0, noise: 0, saturated: 0, flushed: 0, absmax: 0 } };
    };
    this.#sites = new Map(
      cacheSites(decoder).map(({ layer, kvHeads, keyDim, valueDim }) => [
        layer,
        { k: none(kvHeads * keyDim), v: none(kvHeads * valueDim) },
      ]),
    );
  }

  add(layer: number, batch: Batch, outputs: Readonly<Record<string, Float32Array>>): void {
    for (const side of ["k", "v"] as const) {
      const site = this.#sites.get(layer);
      if (site === undefined) throw new RangeError(`layer ${layer} has no cache`);
      const { sums, width } = site[side];
      const total = (name: string) => [...(outputs[name] ?? [])].reduce((sum, value) => sum + value, 0);
      const signal = total(SEGMENT_VALUES.sumOfSquares(side, layer));
      if (!Number.isFinite(signal)) {
        throw new NotFiniteError(
          `Layer ${layer}: ${side.toUpperCase()} has values that are not finite (NaN or Inf). The weights are damaged, or activations overflow: nothing can be verified.`,
        );
      }
      sums.elements += tokensOf(batch) * width;
      sums.signal += signal;
      sums.noise += total(SEGMENT_VALUES.loss("noise", side, layer));
      sums.saturated += total(SEGMENT_VALUES.loss("saturated", side, layer));
      sums.flushed += total(SEGMENT_VALUES.loss("flushed", side, layer));
      sums.absmax = Math.max(sums.absmax, ...(outputs[SEGMENT_VALUES.absmax(side, layer)] ?? []));
    }
  }

  finish(): Record<Side, FidelitySums>[] {
    return [...this.#sites.values()].map(({ k, v }) => ({ k: k.sums, v: v.sums }));
  }
}

interface SideSums {
  /** Numbers of a token. */
  readonly width: number;
  readonly sums: { -readonly [Key in keyof FidelitySums]: number };
}

/** How much of the work is done: matrix products, counted in elements of weights × tokens × arms. */
class WorkCounter {
  readonly #report: EvaluateRequest["onProgress"];
  readonly #headWork: number;
  readonly #total: number;
  readonly #tokens: number;
  #done = 0;

  constructor(request: EvaluateRequest, batches: readonly Batch[], segments: readonly Segment[]) {
    const { onProgress, decoder, arms } = request;
    this.#report = onProgress;
    this.#tokens = batches.reduce((sum, batch) => sum + tokensOf(batch), 0);
    const positions = batches
      .flatMap(({ prompts }) => prompts)
      .reduce((sum, window) => sum + evaluatedIn(request, window), 0);
    this.#headWork = arms.length * positions * decoder.hiddenSize * decoder.vocabularySize;
    this.#total =
      this.#headWork +
      arms.length *
        segments.reduce(
          (sum, { parts }) => sum + batches.reduce((all, batch) => all + tokensOf(batch) * productsOfParts(parts), 0),
          0,
        );
  }

  batchDone(batch: Batch, parts: Segment["parts"], arms: number): void {
    this.#advance(tokensOf(batch) * productsOfParts(parts) * arms);
  }

  headDone(share: number): void {
    this.#advance(this.#headWork * share);
  }

  #advance(work: number): void {
    this.#done += work;
    this.#report?.({ done: Math.min(1, this.#done / this.#total), tokens: this.#tokens });
  }
}
