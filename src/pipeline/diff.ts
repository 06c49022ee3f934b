// The story of a comparison: the scales of two checkpoints, layer by layer, as ratios. Changes nothing, prints nothing.

import { attentionNames } from "../checkpoint/attention-names.js";
import { readScales, type ScaleTensor } from "../checkpoint/read-scales.js";
import { scaleDtype } from "../checkpoint/scale-facts.js";
import type { ScaleKind } from "../checkpoint/scale-names.js";
import { surveyCheckpoint } from "../checkpoint/survey-checkpoint.js";
import { CheckpointError, UsageError } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { CalibrationProgress } from "./calibrate.js";
import { requireKnownOptions } from "./known-options.js";
import { locateModel, takesRevision } from "./locate-model.js";
import { A_MODEL, requireText } from "./option-checks.js";

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
  /** Which tensors it has. */
  readonly kinds: readonly ScaleKind[];
}

/** Ratios b / a of what the scales stand for. Undefined where one of the two has no such scale. */
export interface LayerRatios {
  readonly layer: number;
  readonly k: number | undefined;
  readonly v: number | undefined;
  /** kv_scale, or the larger of k_scale and v_scale. */
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
  readonly largest: { readonly layer: number; readonly side: "k" | "v" | "kv"; readonly ratio: number } | undefined;
}

/**
 * Compares the scales of two checkpoints. Scales for different FP8 dtypes are compared by the absmax they stand for.
 * @throws CheckpointError when one has no scales or cannot be read, HubError, InterruptedError
 */
export async function diff(given: DiffOptions): Promise<Difference> {
  requireKnownOptions("diff", given);
  const { a, b, revision, ...options } = given;
  for (const [option, model] of Object.entries({ a, b })) requireText(option, model, A_MODEL);
  const [ofA, ofB] = await revisionsOf(a, b, revision);
  // One after the other: both may be downloads of the same repository.
  const first = await readSide(a, { ...options, revision: ofA });
  const second = await readSide(b, { ...options, revision: ofB });
  const shared = [...first.absmax.keys()].filter((layer) => second.absmax.has(layer));
  const layers = shared.map((layer) => ratiosOf(layer, first.absmax.get(layer), second.absmax.get(layer)));
  return {
    a: first.checkpoint,
    b: second.checkpoint,
    layers,
    onlyInA: [...first.absmax.keys()].filter((layer) => !second.absmax.has(layer)),
    onlyInB: [...second.absmax.keys()].filter((layer) => !first.absmax.has(layer)),
    largest: largestOf(layers),
  };
}

/** What a revision that is given once says of each side. */
async function revisionsOf(a: string, b: string, revision: string | undefined) {
  if (revision === undefined) return [undefined, undefined] as const;
  const [isOfA, isOfB] = [await takesRevision(a), await takesRevision(b)];
  if (isOfA || isOfB) return [isOfA ? revision : undefined, isOfB ? revision : undefined] as const;
  throw new UsageError(
    `--revision goes with a hub id (org/name) that names no revision itself; found ${a} and ${b}. Leave it out.`,
  );
}

/** absmax ÷ headroom of a layer, as far as its scales tell. */
type Absmax = Readonly<Record<"k" | "v" | "kv", number | undefined>>;

interface Side {
  readonly checkpoint: ComparedCheckpoint;
  readonly absmax: ReadonlyMap<number, Absmax>;
}

async function readSide(model: string, options: Omit<DiffOptions, "a" | "b">): Promise<Side> {
  const { folder } = await locateModel({ model, ...options });
  return await untilInterrupted(options.signal, readFolder(folder));
}

async function readFolder(folder: string): Promise<Side> {
  const survey = await surveyCheckpoint(folder);
  const scales = await readScales(survey.files);
  if (scales.length === 0) {
    throw new CheckpointError(`${folder}: has no KV scales to compare. Calibrate it: create-kv-scales ${folder}`);
  }
  const dtype = scaleDtype(survey.config);
  const { scaleDivisor } = FLOAT8_FORMATS[dtype];
  const layers = [...new Set(scales.flatMap(({ layer }) => layer ?? []))].sort((x, y) => x - y);
  const known = attentionNames(survey.files.flatMap(({ header }) => header.tensors.map(({ name }) => name)));
  return {
    checkpoint: { folder, dtype, kinds: [...new Set(scales.map(({ kind }) => kind))].sort() },
    absmax: new Map(layers.map((layer) => [layer, absmaxOf(layer, known.get(layer), scales, scaleDivisor)])),
  };
}

/** @param attention what the layer's attention is called; scales of another name in that layer stand back */
function absmaxOf(
  layer: number,
  attention: string | undefined,
  scales: readonly ScaleTensor[],
  divisor: number,
): Absmax {
  const find = (kind: ScaleKind) => {
    const ofLayer = scales.filter((scale) => scale.layer === layer && scale.kind === kind);
    const { values } = ofLayer.find((scale) => scale.attention === attention) ?? ofLayer[0] ?? {};
    return values === undefined ? undefined : Math.max(...values) * divisor;
  };
  const [k, v, kv] = [find("k_scale"), find("v_scale"), find("kv_scale")];
  return { k, v, kv: kv ?? (k === undefined || v === undefined ? undefined : Math.max(k, v)) };
}

function ratiosOf(layer: number, a: Absmax | undefined, b: Absmax | undefined): LayerRatios {
  const ratio = (side: keyof Absmax) => {
    const [from, to] = [a?.[side], b?.[side]];
    return from === undefined || to === undefined ? undefined : to / from;
  };
  return { layer, k: ratio("k"), v: ratio("v"), kv: ratio("kv") };
}

function largestOf(layers: readonly LayerRatios[]): Difference["largest"] {
  const ratios = layers.flatMap(({ layer, ...sides }) =>
    (["k", "v", "kv"] as const).flatMap((side) => {
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
