// The story of a comparison: the ratios of the scales that an engine uses from two checkpoints, layer by layer. Changes
// nothing, prints nothing.

import { ENGINE_NAMES, type EngineName } from "../checkpoint/engine-names.js";
import { ENGINES, judgeScales } from "../checkpoint/engine-rules.js";
import type { EngineVerdict, SideScale } from "../checkpoint/engine-verdicts.js";
import { type ScaleTensor, scalesByAttention } from "../checkpoint/read-scales.js";
import { gatherScaleFacts, type ScaleFacts, scaleDtype } from "../checkpoint/scale-facts.js";
import type { ScaleKind } from "../checkpoint/scale-names.js";
import { surveyCheckpoint } from "../checkpoint/survey-checkpoint.js";
import { CheckpointError, UsageError } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { CalibrationProgress } from "./calibration-result.js";
import { requireKnownOptions } from "./known-options.js";
import { locateModel, takesRevision } from "./locate-model.js";
import { A_MODEL, requireKey, requireText } from "./option-checks.js";

export interface DiffOptions {
  /** A checkpoint folder, or a hub id as `org/name@revision`. CheckpointError when it has no scales or cannot be read. */
  readonly a: string;
  /** The checkpoint to compare with it. */
  readonly b: string;
  /**
   * Branch, tag or commit of each hub id that names none itself (`org/name@revision`). UsageError without such a hub id.
   * @defaultValue `"main"`
   */
  readonly revision?: string | undefined;
  /**
   * The engine whose scales are compared. UsageError for another, CheckpointError when it does not use those of both.
   * @defaultValue one that uses the scales of both
   */
  readonly engine?: EngineName | undefined;
  /**
   * The largest ratio of two scales, in either direction, that counts as the same: 1 or more, else UsageError.
   * @defaultValue none: `beyond` is undefined
   */
  readonly maxRatio?: number | undefined;
  /**
   * Stops the run: it then throws InterruptedError.
   * @defaultValue none
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Called while the work goes on, often; what it throws ends the run.
   * @defaultValue none
   */
  readonly onProgress?: ((progress: CalibrationProgress) => void) | undefined;
}

export interface ComparedCheckpoint {
  readonly folder: string;
  readonly dtype: Float8Name;
  /** The kinds of its scale tensors. */
  readonly kinds: readonly ScaleKind[];
  /**
   * The engine whose scales are compared. Undefined when no known engine uses them: then they are compared by their
   * names.
   */
  readonly engine?: EngineName | undefined;
}

/** Ratios b / a of what the scales stand for. Undefined where one of the two has no number. */
export interface LayerRatios {
  readonly layer: number;
  readonly k: number | undefined;
  readonly v: number | undefined;
  /** Of the larger of the two. */
  readonly kv: number | undefined;
}

export interface Difference {
  readonly a: ComparedCheckpoint;
  readonly b: ComparedCheckpoint;
  /** Layers that both have scales for. */
  readonly layers: readonly LayerRatios[];
  readonly onlyInA: readonly number[];
  readonly onlyInB: readonly number[];
  /** The ratio that is farthest from 1, in either direction. Undefined when nothing can be compared. */
  readonly largest: { readonly layer: number; readonly side: "k" | "v"; readonly ratio: number } | undefined;
  readonly maxRatio?: number | undefined;
  /** Layers with a ratio beyond `maxRatio` or without a ratio, and those with scales in only one checkpoint. */
  readonly beyond?: readonly number[] | undefined;
}

/** Scales are float32, rounded up: a ratio may differ by this much from that of the ranges. */
const FLOAT32_SLACK = 1 + 2 ** -22;

/**
 * Compares the scales of two checkpoints as an engine uses them. Scales for different FP8 dtypes are compared by the absmax
 * they stand for.
 * @throws CheckpointError when one has no scales, cannot be read, or is not used by the engine that was asked for,
 * UsageError, HubError, InterruptedError
 */
export async function diff(given: DiffOptions): Promise<Difference> {
  requireKnownOptions("diff", given);
  const { a, b, revision, engine, maxRatio, ...options } = given;
  for (const [option, model] of Object.entries({ a, b })) requireText(option, model, A_MODEL);
  if (engine !== undefined) requireKey("engine", engine, ENGINES);
  if (maxRatio !== undefined && !(maxRatio >= 1 && Number.isFinite(maxRatio))) {
    throw new UsageError(`maxRatio: expected a number of 1 or more, found ${maxRatio}`);
  }
  const [revisionA, revisionB] = await revisionsOf(a, b, revision);
  // One after the other: both may be downloads of the same repository.
  const first = await readSide(a, { ...options, revision: revisionA });
  const second = await readSide(b, { ...options, revision: revisionB });
  const [ofA, ofB] = chooseEngines(first, second, engine);
  const [absmaxA, absmaxB] = [absmaxOf(first, ofA), absmaxOf(second, ofB)];
  const layers = [...absmaxA].flatMap(([layer, from]) => {
    const to = absmaxB.get(layer);
    return to === undefined ? [] : [ratiosOf(layer, from, to)];
  });
  const onlyInA = [...absmaxA.keys()].filter((layer) => !absmaxB.has(layer));
  const onlyInB = [...absmaxB.keys()].filter((layer) => !absmaxA.has(layer));
  return {
    a: describeSide(first, ofA),
    b: describeSide(second, ofB),
    layers,
    onlyInA,
    onlyInB,
    largest: largestOf(layers),
    maxRatio,
    beyond: maxRatio === undefined ? undefined : layersBeyond(maxRatio, layers, [...onlyInA, ...onlyInB]),
  };
}

/** The revision of each side, if it is given once. */
async function revisionsOf(a: string, b: string, revision: string | undefined) {
  if (revision === undefined) return [undefined, undefined] as const;
  const [isOfA, isOfB] = [await takesRevision(a), await takesRevision(b)];
  if (isOfA || isOfB) return [isOfA ? revision : undefined, isOfB ? revision : undefined] as const;
  throw new UsageError(
    `--revision goes with a hub id (org/name) that names no revision itself; found ${a} and ${b}. Leave it out.`,
  );
}

interface Side {
  readonly folder: string;
  readonly dtype: Float8Name;
  readonly facts: ScaleFacts;
  readonly verdicts: ReadonlyMap<EngineName, EngineVerdict>;
}

async function readSide(model: string, options: Omit<DiffOptions, "a" | "b" | "engine" | "maxRatio">): Promise<Side> {
  const { folder } = await locateModel({ model, ...options });
  return await untilInterrupted(options.signal, readFolder(folder));
}

async function readFolder(folder: string): Promise<Side> {
  const survey = await surveyCheckpoint(folder);
  const facts = await gatherScaleFacts(survey);
  if (facts.scales.length === 0) {
    throw new CheckpointError(`${folder}: has no KV scales to compare. Calibrate it: create-kv-scales ${folder}`);
  }
  const verdicts = new Map(ENGINE_NAMES.map((engine) => [engine, judgeScales(engine, facts)]));
  return { folder, dtype: scaleDtype(survey.config), facts, verdicts };
}

function describeSide({ folder, dtype, facts }: Side, engine: EngineName | undefined): ComparedCheckpoint {
  return { folder, dtype, kinds: [...new Set(facts.scales.map(({ kind }) => kind))].sort(), engine };
}

/** The most used engines first; TGI's documented format after its loader, which reads more. */
const PREFERRED: readonly EngineName[] = ["vllm", "sglang", "tgi", "tgi-documented", "trtllm", "transformers"];

type Chosen = EngineName | undefined;

/** @throws CheckpointError when the engine that is asked for does not use the scales of one */
function chooseEngines(a: Side, b: Side, asked: Chosen): readonly [a: Chosen, b: Chosen] {
  if (asked !== undefined) {
    for (const { folder, verdicts } of [a, b]) {
      const { use, why } = verdicts.get(asked) ?? {};
      if (use !== "used")
        throw new CheckpointError(`${folder}: ${asked} does not use its scales, as far as is known: ${why}.`);
    }
    return [asked, asked];
  }
  const uses = ({ verdicts }: Side, engine: EngineName) => verdicts.get(engine)?.use === "used";
  const both = PREFERRED.find((engine) => uses(a, engine) && uses(b, engine));
  if (both !== undefined) return [both, both];
  const first = (side: Side) => PREFERRED.find((engine) => uses(side, engine));
  return [first(a), first(b)];
}

/** The ranges of a layer's K and V. */
type Absmax = Readonly<Record<"k" | "v", number | undefined>>;

/** Of the layers that have a scale. */
function absmaxOf({ facts, verdicts, dtype }: Side, engine: Chosen): ReadonlyMap<number, Absmax> {
  const { scaleDivisor } = FLOAT8_FORMATS[dtype];
  const absmax = (scale: SideScale) => (scale === undefined ? undefined : scale * scaleDivisor);
  const used = engine === undefined ? byName(facts) : (verdicts.get(engine)?.layers ?? new Map());
  const scaled = new Set(facts.scales.map(({ attention }) => attention));
  const layers = [...used].filter(([layer]) => engine === undefined || scaled.has(facts.attentions.get(layer) ?? ""));
  return new Map(layers.map(([layer, { k, v }]) => [layer, { k: absmax(k), v: absmax(v) }]));
}

/** k_scale and v_scale if a layer has them, else kv_scale, with any prefix. */
function byName({
  attentions,
  scales,
}: ScaleFacts): ReadonlyMap<number, { readonly k: SideScale; readonly v: SideScale }> {
  const layers = [...new Set(scales.flatMap(({ layer }) => layer ?? []))].sort((x, y) => x - y);
  const scalesOf = scalesByAttention(scales);
  return new Map(
    layers.map((layer) => {
      const own = scalesOf(attentions.get(layer));
      const ofLayer = own.length > 0 ? own : scales.filter((scale) => scale.layer === layer);
      const find = (kind: ScaleKind) => largestValue(ofLayer.find((scale) => scale.kind === kind));
      const shared = find("kv_scale");
      return [layer, { k: find("k_scale") ?? shared, v: find("v_scale") ?? shared }];
    }),
  );
}

function largestValue(scale: ScaleTensor | undefined): SideScale {
  return scale?.values && Math.max(...scale.values);
}

function ratiosOf(layer: number, a: Absmax, b: Absmax): LayerRatios {
  const ratio = (from: number | undefined, to: number | undefined) =>
    from === undefined || to === undefined ? undefined : to / from;
  const larger = ({ k, v }: Absmax) => (k === undefined || v === undefined ? undefined : Math.max(k, v));
  return { layer, k: ratio(a.k, b.k), v: ratio(a.v, b.v), kv: ratio(larger(a), larger(b)) };
}

function largestOf(layers: readonly LayerRatios[]): Difference["largest"] {
  const ratios = layers.flatMap(({ layer, ...sides }) =>
    (["k", "v"] as const).flatMap((side) => {
      const ratio = sides[side];
      return ratio === undefined || Number.isNaN(ratio) ? [] : [{ layer, side, ratio }];
    }),
  );
  const distance = ({ ratio }: { readonly ratio: number }) => Math.abs(Math.log2(ratio));
  return ratios.reduce<Difference["largest"]>(
    (largest, next) => (largest === undefined || distance(next) > distance(largest) ? next : largest),
    undefined,
  );
}

function layersBeyond(maxRatio: number, layers: readonly LayerRatios[], lone: readonly number[]): number[] {
  const limit = maxRatio * FLOAT32_SLACK;
  const isWithin = (ratio: number | undefined) => ratio !== undefined && ratio <= limit && 1 / ratio <= limit;
  const differing = layers.filter(({ k, v }) => !isWithin(k) || !isWithin(v)).map(({ layer }) => layer);
  return [...differing, ...lone].sort((a, b) => a - b);
}
