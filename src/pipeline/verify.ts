// The story of a verification: open, read the scales, encode held-out text, evaluate the arms, decide. Writes nothing,
// prints nothing, and knows no command line.

import { type CacheSite, cacheSites } from "../architectures/cache-sites.js";
import { describeModel, describeModelEnd } from "../architectures/registry.js";
import { withUnchangedInput } from "../checkpoint/input-changes.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { scalesAsRead } from "../checkpoint/read-scales.js";
import { scaleDtype } from "../checkpoint/scale-facts.js";
import { throwIfAborted, UsageError } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import type { DownloadProgress } from "../hub/download-files.js";
import { untilInterrupted } from "../interrupts.js";
import { type ArmPositions, computeArmMetrics, type Interval } from "../metrics/arm-metrics.js";
import { effectivePassages, pairedDifference, type WindowPlace } from "../metrics/block-mean.js";
import { fidelityOf } from "../metrics/cache-fidelity.js";
import { countModelNll } from "../metrics/count-model.js";
import { chooseLayersToKeep } from "../metrics/layers-to-keep.js";
import { binByPosition } from "../metrics/position-bins.js";
import { judgedRetrieval } from "../metrics/retrieval-metrics.js";
import { outcomeOf } from "../metrics/thresholds.js";
import { decideVerdict, type Thresholds, VERIFY_DEFAULTS } from "../metrics/verdict.js";
import { layerList } from "../numerics/layer-names.js";
import { HELD_OUT_PROMPTS } from "../prompts/read-prompts.js";
import type { ProviderName } from "../runtime/providers.js";
import { ARMS, type ArmRoundings, roundingsOf } from "./arms.js";
import { onFirstThatWorks, PROVIDER_CHOICES, providersToTry, untestedWarning } from "./choose-provider.js";
import { narrowingWarnings, storedTypeOf } from "./compute-plan.js";
import { type DryRun, locateWithoutDownload, readDataWithoutDownload, tryWork } from "./dry-run.js";
import { encodeWindows } from "./encode-prompts.js";
import type { EvaluatedArm, EvaluateRequest } from "./evaluate-arms.js";
import { positionsIn } from "./evaluate-head.js";
import { evaluateInProcesses } from "./evaluate-in-processes.js";
import type { GenerateProgress } from "./generate-texts.js";
import { type GenerationOptions, generateThroughCaches, prepareGeneration, requireSteps } from "./generation.js";
import { requireKnownOptions } from "./known-options.js";
import { locateModel } from "./locate-model.js";
import {
  A_MODEL,
  LARGEST_SEED,
  requireComputeOptions,
  requireInteger,
  requireKey,
  requireNumber,
  requireText,
} from "./option-checks.js";
import { quantizationWarnings } from "./quantized-weights.js";
import { readData } from "./read-data.js";
import { describeRetrieval, prepareRetrieval, type RetrievalOptions } from "./retrieval.js";
import {
  BASELINES,
  type ComputeOptions,
  type DataOptions,
  type ModelOptions,
  VERIFICATION_DEFAULTS,
} from "./run-options.js";
import { stopAll } from "./share-work.js";
import { startWorkers } from "./start-workers.js";
import { startTokenizerProcess, type TokenizerProcess } from "./tokenizer-process.js";
import type { ArmName, ArmResult, LayerEffect, PositionBin, VerifyResult } from "./verify-result.js";
import { promptWarnings } from "./warnings.js";

/** Arms in one pass when every layer is tried alone: each keeps hidden states of its own. */
const MAX_LAYER_ARMS = 8;

export interface VerifyOptions extends ModelOptions, ComputeOptions, DataOptions {
  /**
   * Which caches to compare. UsageError without one that the verdict is about, or without a baseline.
   * @defaultValue all
   */
  readonly arms?: readonly ArmName[] | undefined;
  /**
   * The arm that the others are compared with: `"16-bit"` or `"exact"`.
   * @defaultValue `"16-bit"`, or `"exact"` where `arms` has no 16-bit
   */
  readonly baseline?: ArmName | undefined;
  /**
   * Also try FP8 in each layer alone: as many passes as there are layers, sharing what they have in common.
   * @defaultValue `false`
   */
  readonly perLayer?: boolean | undefined;
  /**
   * Number of texts at most, 1 or more. The seed chooses them.
   * @defaultValue `256`
   */
  readonly samples?: number | undefined;
  /**
   * Tokens of a window, 2 or more. Longer text is cut into several.
   * @defaultValue `2048`
   */
  readonly sequenceLength?: number | undefined;
  /**
   * Which texts, when there are more: an integer from 0 to 4294967295.
   * @defaultValue `0`
   */
  readonly seed?: number | undefined;
  /**
   * What the verdict allows: see Thresholds. One that is left out has its default.
   * @defaultValue `{ maxPerplexityIncrease: 0.01, maxKl: 0.02, minAgreement: 0.9, minRetrieval: 0.9 }`
   */
  readonly thresholds?: Partial<Thresholds> | undefined;
  /**
   * Also asks long texts for what they said, through every cache: what perplexity hides.
   * @defaultValue none: nothing is retrieved
   */
  readonly retrieval?: RetrievalOptions | undefined;
  /**
   * Also answers prompts token by token through caches that are really stored. The whole model is in memory then:
   * ProviderError when it does not fit.
   * @defaultValue none: nothing is generated
   */
  readonly generate?: GenerationOptions | undefined;
  /**
   * Called with the model's folder once it is there, before anything is computed; what it throws ends the run.
   * @defaultValue none
   */
  readonly onFolder?: ((folder: string) => Promise<void>) | undefined;
  /**
   * Called while the work goes on, often; what it throws ends the run.
   * @defaultValue none
   */
  readonly onProgress?: ((progress: VerificationProgress) => void) | undefined;
}

export type VerificationProgress =
  | ({ readonly stage: "download" } & DownloadProgress)
  | { readonly stage: "open" }
  | { readonly stage: "tokenize" }
  | { readonly stage: "try" }
  | { readonly stage: "evaluate"; readonly what: string; readonly done: number; readonly tokens: number }
  | ({ readonly stage: "generate" } & GenerateProgress);

/**
 * Verifies a checkpoint: what does its FP8 cache cost?
 * @throws UsageError, PromptDataError, CheckpointError, HubError, UnsupportedModelError, ProviderError,
 * InterruptedError: see errors.ts
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  requireKnownOptions("verify", options);
  const { memory, signal, onProgress } = options;
  const settings = completeSettings(options);
  throwIfAborted(signal);
  const { folder } = await locateModel(options);
  await options.onFolder?.(folder);
  onProgress?.({ stage: "open" });
  const checkpoint = await untilInterrupted(signal, openCheckpoint(folder));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors, options);
  const end = describeModelEnd(checkpoint.tensors, decoder);
  if (options.generate !== undefined) requireSteps(decoder);
  const sites = cacheSites(decoder);
  const { scales, arms, subjectName } = await armsOf(checkpoint, settings, sites);
  const dtype = scaleDtype(checkpoint.config);
  const rounding = roundingsOf({ dtype, scales, bits16: bits16Of(checkpoint, decoder.embedding.weight) });

  onProgress?.({ stage: "tokenize" });
  const startTokenizer = () => startTokenizerProcess({ folder, signal });
  const caches = { bits16: "16-bit", fp8: subjectName } as const;
  const { texts, retrieval, generation, dataWarnings } = await encodeAll(startTokenizer());
  const windows = texts.map(({ ids }) => ids);
  const tokens = windows.reduce((sum, window) => sum + window.length, 0);
  const places = texts.map(({ ids, passage }): WindowPlace => ({ positions: positionsIn(ids), passage }));
  async function encodeAll(tokenizer: TokenizerProcess) {
    try {
      const opened = await tokenizer.open();
      const data = await readData({ ...options, shipped: HELD_OUT_PROMPTS });
      const { vocabularySize } = decoder;
      const texts = await encodeWindows(data.prompts, tokenizer, { ...settings, vocabularySize });
      const facts = { checkpoint, decoder, end, rounding, caches, startTokenizer, memory, signal };
      const devices = settings.devices?.slice(0, 1);
      const { generate } = options;
      const generation =
        generate &&
        (await prepareGeneration({ ...facts, devices, options: generate }, tokenizer, settings.providers[0] ?? "cpu"));
      const retrieval =
        options.retrieval &&
        (await prepareRetrieval(options.retrieval, { checkpoint, decoder, seed: settings.seed }, tokenizer));
      return { texts, retrieval, generation, dataWarnings: promptWarnings(data, opened) };
    } finally {
      tokenizer.stop(); // its memory is free for computing
    }
  }

  let providers: readonly ProviderName[] = settings.providers;
  const computeWarnings = new Set<string>();
  const computedIn = new Set<ComputeType>();
  const evaluate = async (
    what: string,
    chosen: EvaluateRequest["arms"],
    over: EvaluatedText = { windows },
  ): Promise<readonly EvaluatedArm[]> => {
    const { result, provider, warnings } = await withUnchangedInput(checkpoint, () =>
      onFirstThatWorks(providers, (provider) => evaluateOn(provider, what, chosen, over)),
    );
    // What has failed once is not tried again, and what is compared is computed in one place.
    providers = [provider];
    for (const warning of [...warnings, ...result.warnings]) computeWarnings.add(warning);
    computedIn.add(result.elementType);
    return result.arms;
  };
  const evaluateOn = async (
    provider: ProviderName,
    what: string,
    chosen: EvaluateRequest["arms"],
    { windows, positions }: EvaluatedText,
  ) => {
    const { devices } = settings;
    const tokens = windows.reduce((sum, window) => sum + window.length, 0);
    const workers = await startWorkers({ provider, devices, checkpoint, decoder, memory, tokens, signal });
    try {
      return await evaluateInProcesses(workers, {
        ...{ checkpoint, decoder, end, windows, positions, signal },
        roundings: rounding.roundings,
        arms: chosen,
        onProgress: ({ done }) => onProgress?.({ stage: "evaluate", what, done, tokens }),
      });
    } finally {
      stopAll(workers);
    }
  };
  const uniform = (arm: ArmName) => sites.map(() => rounding.indexOf(arm));
  const baseline = settings.baseline;
  const ordered = [baseline, ...arms.filter((arm) => arm !== baseline)];
  const evaluated = await evaluate(`${ordered.length} caches`, ordered.map(uniform));
  const retrieved =
    retrieval && describeRetrieval(retrieval, ordered, await evaluate("retrieval", ordered.map(uniform), retrieval));
  const armOf = (name: ArmName) => evaluated[ordered.indexOf(name)];
  const baselinePositions = positionsOf(evaluated[0]);
  const metricsOf = (arm: EvaluatedArm | undefined, against = baselinePositions) =>
    computeArmMetrics(positionsOf(arm), against, places);

  const results = arms.map(
    (name): ArmResult => ({
      name,
      description: rounding.describe(name),
      ...metricsOf(armOf(name)),
      layers: describeLayers(name, armOf(name), rounding, sites),
    }),
  );
  const subject = results.find(({ name }) => name === subjectName);
  if (subject === undefined) throw new RangeError(`arm ${subjectName} was not evaluated`);

  const layerEffects: LayerEffect[] = [];
  if (settings.perLayer) {
    for (let first = 0; first < sites.length; first += MAX_LAYER_ARMS) {
      const layers = sites.slice(first, first + MAX_LAYER_ARMS).map(({ layer }) => layer);
      const alone = layers.map((layer) => onlyIn(sites, [layer], rounding.indexOf(subjectName), uniform(baseline)));
      const what = `${layerList(layers)} alone`;
      const [base, ...others] = await evaluate(what, [uniform(baseline), ...alone]);
      for (const [index, arm] of others.entries()) {
        const { divergence, perplexityRatio, agreement } = metricsOf(arm, positionsOf(base));
        const effect = { meanKl: divergence.mean.value, perplexityRatio: perplexityRatio.value, agreement };
        layerEffects.push({ layer: layers[index] ?? first, ...effect });
      }
    }
  }
  const judged = (arm: ArmResult) => ({ metrics: arm, retrieval: judgedRetrieval(retrieved, arm.name) });
  const kept =
    outcomeOf(judged(subject), settings.thresholds) === "beyond"
      ? chooseLayersToKeep(layerEffects, subject.divergence.mean.value, settings.thresholds)
      : undefined;
  const withLayersIn16Bits = kept === undefined || kept.length === 0 ? undefined : await remeasure(kept);
  async function remeasure(layers: readonly number[]) {
    const mixed = onlyIn(sites, layers, rounding.indexOf("16-bit"), uniform(subjectName));
    const what = `layers ${layers.join(", ")} in 16 bits`;
    const [base, arm] = await evaluate(what, [uniform(baseline), mixed]);
    const again =
      retrieval &&
      describeRetrieval(
        retrieval,
        [baseline, subjectName],
        await evaluate(`retrieval, ${what}`, [uniform(baseline), mixed], retrieval),
      );
    return { layers, metrics: metricsOf(arm, positionsOf(base)), retrieval: judgedRetrieval(again, subjectName) };
  }

  const generated =
    generation &&
    (await withUnchangedInput(checkpoint, () =>
      generateThroughCaches(
        generation,
        { provider: providers[0] ?? "cpu", computedIn: [...computedIn] },
        { signal, onProgress: (progress) => onProgress?.({ stage: "generate", ...progress }) },
      ),
    ));

  const [usedProvider = "cpu"] = providers;
  const noiseArm = baseline === "exact" ? "16-bit" : "exact";
  const noise = results.find(({ name }) => name === noiseArm);
  const atScale1 = results.find(({ name }) => name === "fp8-at-1");
  const countedNll = countModelNll(windows, decoder.vocabularySize);
  const verdict = decideVerdict({
    subject: { name: subjectName, ...judged(subject) },
    atScale1:
      subjectName === "fp8" && atScale1 !== undefined
        ? { ...judged(atScale1), extraKl: extraDivergence(armOf("fp8-at-1"), armOf("fp8"), places) }
        : undefined,
    noiseFloor: noise && { perplexityRatio: noise.perplexityRatio.value, meanKl: noise.divergence.mean.value },
    thresholds: settings.thresholds,
    text: { amount: tokens, observations: effectivePassages(places) },
    retrievalValues: retrieved?.values,
    baselineNll: mean(baselinePositions.negativeLogLikelihood),
    countModelNll: mean(countedNll),
    gainOverCounting: pairedDifference(countedNll, baselinePositions.negativeLogLikelihood, places),
    layerEffects,
    withLayersIn16Bits,
  });
  return {
    checkpoint: folder,
    modelType: decoder.modelType,
    provider: usedProvider,
    computedIn: [...computedIn].join(" and "),
    dtype,
    scaleSource: scales?.source,
    baseline,
    windows: windows.length,
    tokens,
    ...{ data: options.data, seed: settings.seed },
    positions: baselinePositions.topToken.length,
    arms: results,
    layerEffects,
    positionBins: binPositions(arms, armOf, windows.map(positionsIn)),
    thresholds: settings.thresholds,
    verdict,
    retrieval: retrieved,
    generation: generated?.generation,
    warnings: [
      ...checkpoint.warnings,
      ...new Set([...dataWarnings, ...computeWarnings, ...(generated?.warnings ?? [])]),
      ...untestedWarning(usedProvider),
      ...quantizationWarnings(decoder),
      ...narrowingWarnings(storedTypeOf(checkpoint, decoder), [...computedIn]),
      ...(scales === undefined ? ["The checkpoint has no KV scales: engines run it at scale 1.0."] : []),
    ],
  };
}

/**
 * What `verify` would do with the same options, `retrieval` and `generate` aside. Nothing is written.
 * @param reports files that the caller writes of the result
 * @throws as verify; UsageError for a model that is to be downloaded
 */
export async function planVerification(options: VerifyOptions, reports: readonly string[] = []): Promise<DryRun> {
  const begin = performance.now();
  requireKnownOptions("verify", options);
  const settings = completeSettings(options);
  const { memory, signal, onProgress } = options;
  throwIfAborted(signal);
  const { folder } = await locateWithoutDownload(options);
  await options.onFolder?.(folder);
  onProgress?.({ stage: "open" });
  const checkpoint = await untilInterrupted(signal, openCheckpoint(folder));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors, options);
  describeModelEnd(checkpoint.tensors, decoder);
  if (options.generate !== undefined) requireSteps(decoder);
  const { arms } = await armsOf(checkpoint, settings, cacheSites(decoder));
  onProgress?.({ stage: "tokenize" });
  const tokenizer = startTokenizerProcess({ folder, signal });
  try {
    await tokenizer.open();
    const { prompts } = await readDataWithoutDownload({ ...options, shipped: HELD_OUT_PROMPTS });
    const { vocabularySize } = decoder;
    const texts = await encodeWindows(prompts, tokenizer, { ...settings, vocabularySize });
    const tokenIds = texts.map(({ ids }) => ids);
    tokenizer.stop();
    onProgress?.({ stage: "try" });
    const alone = settings.perLayer ? cacheSites(decoder).length : 0;
    const baselines = Math.ceil(alone / MAX_LAYER_ARMS);
    return await tryWork({
      ...{ command: "verify", checkpoint, decoder, tokenIds, lastLayer: "layer", memory, signal },
      ...{ providers: settings.providers, devices: settings.devices },
      // A layer alone shares what is before it: on average half of the layers.
      passes: arms.length + baselines + alone / 2,
      headPasses: arms.length + baselines + alone,
      statesAtOnce: Math.max(arms.length, alone > 0 ? 1 + Math.min(alone, MAX_LAYER_ARMS) : 0),
      writes: { paths: reports, bytes: 0 },
      preparedSeconds: (performance.now() - begin) / 1000,
    });
  } finally {
    tokenizer.stop();
  }
}

/** The caches to compare: those of the settings that the checkpoint has, and the one that the verdict is about. */
async function armsOf(checkpoint: Checkpoint, settings: Settings, sites: readonly CacheSite[]) {
  const scales = await scalesAsRead(checkpoint, sites);
  const arms = settings.arms.filter((arm) => arm !== "fp8" || scales !== undefined);
  const subjectName = scales === undefined ? "fp8-at-1" : "fp8";
  if (!arms.includes(subjectName)) throw new UsageError(missingSubject(settings.arms, subjectName));
  return { scales, arms, subjectName } as const;
}

/** What a pass evaluates. */
type EvaluatedText = Pick<EvaluateRequest, "windows" | "positions">;

interface Settings {
  readonly arms: readonly ArmName[];
  readonly baseline: ArmName;
  readonly perLayer: boolean;
  readonly samples: number;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly providers: readonly ProviderName[];
  readonly devices: readonly number[] | undefined;
  readonly thresholds: Thresholds;
}

function completeSettings(options: VerifyOptions): Settings {
  const names = Object.keys(ARMS) as ArmName[];
  requireText("model", options.model, A_MODEL);
  if (options.arms !== undefined) requireArms(options.arms);
  const arms = options.arms === undefined ? names : names.filter((name) => options.arms?.includes(name));
  const baseline = options.baseline ?? (arms.includes("16-bit") ? "16-bit" : "exact");
  if (!BASELINES.includes(baseline)) {
    throw new UsageError(`baseline: expected one of ${BASELINES.join(", ")}, found ${baseline}`);
  }
  if (!arms.includes(baseline)) {
    const added = listOf([...arms, options.baseline ?? "16-bit"]);
    throw new UsageError(
      options.baseline === undefined
        ? `arms: expected ${BASELINES.join(" or ")} among them, to compare the others with; found ${arms.join(", ")}. Write --arms ${added}.`
        : `baseline: ${baseline} is not among the arms (${arms.join(", ")}). Write --arms ${added}, or choose another baseline.`,
    );
  }
  const provider = options.provider ?? VERIFICATION_DEFAULTS.provider;
  requireKey("provider", provider, PROVIDER_CHOICES);
  const { devices } = options;
  requireComputeOptions(options);
  const sequenceLength = options.sequenceLength ?? VERIFICATION_DEFAULTS.sequenceLength;
  const samples = options.samples ?? VERIFICATION_DEFAULTS.samples;
  requireInteger("samples", samples, 1);
  requireInteger("sequenceLength", sequenceLength, 2);
  const seed = options.seed ?? VERIFICATION_DEFAULTS.seed;
  requireInteger("seed", seed, 0, LARGEST_SEED);
  const thresholds = {
    maxPerplexityIncrease: options.thresholds?.maxPerplexityIncrease ?? VERIFY_DEFAULTS.maxPerplexityIncrease,
    maxKl: options.thresholds?.maxKl ?? VERIFY_DEFAULTS.maxKl,
    minAgreement: options.thresholds?.minAgreement ?? VERIFY_DEFAULTS.minAgreement,
    minRetrieval: options.thresholds?.minRetrieval ?? VERIFY_DEFAULTS.minRetrieval,
  };
  requireNumber("thresholds.maxPerplexityIncrease", thresholds.maxPerplexityIncrease, 0);
  requireNumber("thresholds.maxKl", thresholds.maxKl, 0);
  requireNumber("thresholds.minAgreement", thresholds.minAgreement, 0, 1);
  requireNumber("thresholds.minRetrieval", thresholds.minRetrieval, 0, 1);
  return {
    ...{ arms, baseline, devices, samples, sequenceLength, seed, thresholds },
    providers: providersToTry(provider, devices),
    perLayer: options.perLayer ?? false,
  };
}

function requireArms(arms: readonly ArmName[]): void {
  if (!Array.isArray(arms)) throw new UsageError(`arms: expected a list of ${Object.keys(ARMS).join(", ")}`);
  for (const name of arms) requireKey("arms", name, ARMS);
}

/** What to do where the cache that the verdict is about is not to be measured. */
function missingSubject(arms: readonly ArmName[], subject: ArmName): string {
  const found = `found ${arms.join(", ")}`;
  if (subject === "fp8") {
    return `arms: expected fp8 among them, since the checkpoint has scales, which the verdict is about; ${found}. Write --arms ${listOf([...arms, subject])}.`;
  }
  const others = arms.filter((arm) => arm !== "fp8");
  const what = arms.includes("fp8") ? "has no KV scales, which the arm fp8 is about" : "has no KV scales";
  return `arms: the checkpoint ${what}: ${found}. Calibrate it first, or verify it at scale 1.0: --arms ${listOf([...others, subject])}.`;
}

/** In the order of the table. */
function listOf(arms: readonly ArmName[]): string {
  return Object.keys(ARMS)
    .filter((name) => arms.some((arm) => arm === name))
    .join(",");
}

/** What a cache without FP8 would hold: the dtype of the weights; engines serve float32 checkpoints in bfloat16. */
function bits16Of({ tensors }: Checkpoint, embedding: string): "bfloat16" | "float16" {
  return tensors.get(embedding)?.dtype === "F16" ? "float16" : "bfloat16";
}

function positionsOf(arm: EvaluatedArm | undefined): ArmPositions {
  if (arm === undefined) throw new RangeError("an arm was not evaluated");
  return arm.positions;
}

/** `roundings` of sites with another rounding in some layers. */
function onlyIn(
  sites: readonly CacheSite[],
  layers: readonly number[],
  rounding: number,
  roundings: readonly number[],
): number[] {
  return roundings.map((other, site) => (layers.includes(sites[site]?.layer ?? -1) ? rounding : other));
}

function describeLayers(
  name: ArmName,
  arm: EvaluatedArm | undefined,
  rounding: ArmRoundings,
  sites: readonly CacheSite[],
): ArmResult["layers"] {
  const measured = arm?.layers ?? [];
  return sites.flatMap(({ layer }, site) => {
    const { k, v } = measured[site] ?? {};
    if (k === undefined || v === undefined) return [];
    return {
      layer,
      kScale: rounding.scaleOf(name, "k", layer),
      vScale: rounding.scaleOf(name, "v", layer),
      k: fidelityOf(k),
      v: fidelityOf(v),
    };
  });
}

/** By how much the KL divergence of one arm is above that of another. */
function extraDivergence(
  arm: EvaluatedArm | undefined,
  other: EvaluatedArm | undefined,
  places: readonly WindowPlace[],
): Interval {
  return pairedDifference(positionsOf(arm).divergence, positionsOf(other).divergence, places);
}

function binPositions(
  arms: readonly ArmName[],
  armOf: (name: ArmName) => EvaluatedArm | undefined,
  windowPositions: readonly number[],
): PositionBin[] {
  const byArm = arms.map((name) => ({
    name,
    bins: binByPosition(positionsOf(armOf(name)).divergence, windowPositions),
  }));
  return (byArm[0]?.bins ?? []).map(({ first, end, positions }, index) => ({
    ...{ first, end, positions },
    meanKl: Object.fromEntries(byArm.map(({ name, bins }) => [name, bins[index]?.mean ?? 0])),
  }));
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
