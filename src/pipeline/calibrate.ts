// The story of a calibration: open, describe, encode, measure, scale, write. The only place that joins the parts; prints
// nothing and knows no command line.

import { cacheSites } from "../architectures/cache-sites.js";
import type { Decoder } from "../architectures/description.js";
import { describeModel } from "../architectures/registry.js";
import { inputsBesideText } from "../architectures/wrappers.js";
import { withUnchangedInput } from "../checkpoint/input-changes.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { SMALL_FILES_BYTES, tryInPlace, tryNewFolder } from "../checkpoint/output-checks.js";
import { chooseOutputForm } from "../checkpoint/output-form.js";
import {
  type EngineCommand,
  OUTPUT_FORMATS,
  type OutputFormatName,
  scaleNames,
  scaleTensors,
} from "../checkpoint/output-formats.js";
import { layOutCheckpoint } from "../checkpoint/output-layout.js";
import type { Placement } from "../checkpoint/place-file.js";
import { type CheckpointContent, type WriteOptions, writeNewCheckpoint } from "../checkpoint/write-checkpoint.js";
import { writeInPlace } from "../checkpoint/write-in-place.js";
import { CheckpointError, ProviderError, throwIfAborted } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import type { DownloadProgress } from "../hub/download-files.js";
import { untilInterrupted } from "../interrupts.js";
import type { ExpertTokens } from "../numerics/expert-tokens.js";
import { FLOAT8_FORMATS, type Float8Name } from "../numerics/float8.js";
import type { QuantizedWeights } from "../numerics/quantized-weights.js";
import type { LayerRange } from "../numerics/ranges.js";
import { computeLayerScales, type LayerScales } from "../numerics/scales.js";
import { SHIPPED_PROMPTS } from "../prompts/read-prompts.js";
import { PROVIDERS, type Provider, type ProviderName } from "../runtime/providers.js";
import { recordMetadata, recordText } from "./calibration-record.js";
import {
  onFirstThatWorks,
  PROVIDER_CHOICES,
  type ProviderChoice,
  providersToTry,
  untestedWarning,
} from "./choose-provider.js";
import { narrowingWarnings, storedTypeOf } from "./compute-plan.js";
import { type DryRun, locateWithoutDownload, readDataWithoutDownload, tryWork } from "./dry-run.js";
import { type EncodedPrompts, encodePrompts } from "./encode-prompts.js";
import { requireKnownOptions } from "./known-options.js";
import { type LocatedModel, type LocateOptions, locateModel, placeOfResult } from "./locate-model.js";
import { measureInProcesses } from "./measure-in-processes.js";
import type { MeasuredRanges, MeasureProgress, MeasureTiming } from "./measure-ranges.js";
import {
  A_MODEL,
  LARGEST_SEED,
  requireComputeOptions,
  requireDtypeOfFormat,
  requireInteger,
  requireKey,
  requireNumber,
  requireOnePlace,
  requireText,
} from "./option-checks.js";
import { quantizationWarnings } from "./quantized-weights.js";
import { readData } from "./read-data.js";
import { modelName } from "./run-names.js";
import { CALIBRATION_DEFAULTS, type ComputeOptions, type DataOptions, type ModelOptions } from "./run-options.js";
import { stopAll, type Worker } from "./share-work.js";
import { openSibling } from "./sibling.js";
import { startWorkers } from "./start-workers.js";
import { startTokenizerProcess } from "./tokenizer-process.js";
import { promptWarnings, warningsOf } from "./warnings.js";

export interface CalibrateOptions extends ModelOptions, ComputeOptions, DataOptions {
  /**
   * The checkpoint to write the scales onto: the same model, its weights quantized. Its weights become those of the
   * result, and `model` is only measured. A folder or a hub id, as `model`. CheckpointError when it is not the same
   * model.
   * @defaultValue `model`
   */
  readonly onto?: string | undefined;
  /**
   * Folder to write. OutputExistsError when there is something that may not be replaced, OutputWriteError when it cannot be
   * written.
   * @defaultValue `<model>-FP8-KV`, or `<onto>-FP8-KV`, beside that; of a hub id, in the current folder
   */
  readonly output?: string | undefined;
  /**
   * Add the scales to the model's own folder instead, or to that of `onto`. UsageError together with `output`, or with a hub id.
   * @defaultValue `false`
   */
  readonly inPlace?: boolean | undefined;
  /**
   * Replace an earlier result. What is not from this program is never replaced.
   * @defaultValue `false`
   */
  readonly force?: boolean | undefined;
  /**
   * How the scales are written: it decides which engines read them.
   * @defaultValue `"tgi"`
   */
  readonly format?: OutputFormatName | undefined;
  /**
   * FP8 format of the cache. UsageError when the output format has no such dtype.
   * @defaultValue `"float8_e4m3fn"`
   */
  readonly dtype?: Float8Name | undefined;
  /**
   * Factor on every absmax, 1 to 16: room for larger values than those of the prompts.
   * @defaultValue `1`
   */
  readonly headroom?: number | undefined;
  /**
   * Number of prompts at most, 1 or more. The seed chooses them.
   * @defaultValue `256`
   */
  readonly samples?: number | undefined;
  /**
   * Tokens of each prompt at most, 1 or more.
   * @defaultValue `2048`
   */
  readonly sequenceLength?: number | undefined;
  /**
   * Which prompts, when there are more: an integer from 0 to 4294967295.
   * @defaultValue `0`
   */
  readonly seed?: number | undefined;
  /**
   * Called while the work goes on, often; what it throws ends the run.
   * @defaultValue none
   */
  readonly onProgress?: ((progress: CalibrationProgress) => void) | undefined;
}

export type CalibrationProgress =
  | ({ readonly stage: "download" } & DownloadProgress)
  | { readonly stage: "open" }
  | { readonly stage: "tokenize" }
  | { readonly stage: "try" }
  | ({ readonly stage: "measure"; readonly tokens: number } & MeasureProgress)
  | { readonly stage: "write"; readonly copiedBytes: number; readonly totalBytes: number };

export interface CalibrationResult {
  /** The folder that holds the result. */
  readonly output: string;
  /** Whether that is the model's own folder, or that of `onto`. */
  readonly inPlace: boolean;
  /** The folder whose weights the result has, where that is not the model's. */
  readonly onto?: string | undefined;
  /** `model_type` of config.json; of a multimodal model, that of its decoder. */
  readonly modelType: string;
  /** How the scales are written. */
  readonly format: OutputFormatName;
  /** FP8 format of the cache. */
  readonly dtype: Float8Name;
  /** Factor on every absmax. */
  readonly headroom: number;
  /** Where it was computed. */
  readonly provider: ProviderName;
  /** The type of activations and weights while computing. */
  readonly computedIn: ComputeType;
  /** Number of prompts that were used. */
  readonly samples: number;
  /** Number of tokens that were measured. */
  readonly tokens: number;
  /** What of the run was loading weights, and what computing; the rest is starting, tokenizing and writing. */
  readonly timing: MeasureTiming;
  /** How the weights came into the new folder; undefined in place. */
  readonly placement: Placement | undefined;
  /** What was measured, by layer. */
  readonly ranges: readonly LayerRange[];
  /** What was written, by layer. */
  readonly scales: readonly LayerScales[];
  /** Tokens that each expert has computed, of layers before the last cache. */
  readonly experts: readonly ExpertTokens[];
  /** Of a multimodal model: kinds of tokens that prompts can hold beside text, and that were not measured. */
  readonly notMeasured: readonly ("image" | "audio")[];
  /** The engines that use the scales, and the command that starts each; FOLDER stands for the result. */
  readonly engines: readonly EngineCommand[];
  /** How the weights are quantized; undefined where they are not. */
  readonly quantizedWeights?: QuantizedWeights | undefined;
  /** The format to convert the result to for engines that do not read this one; undefined where there is none. */
  readonly convertTo?: OutputFormatName | undefined;
  /** What a person should know, a sentence or more each. */
  readonly warnings: readonly string[];
}

/**
 * Calibrates a checkpoint and writes the result.
 * @throws UsageError, PromptDataError, OutputExistsError, CheckpointError, HubError, UnsupportedModelError,
 * ProviderError, OutputWriteError, InterruptedError: see errors.ts
 */
export async function calibrate(options: CalibrateOptions): Promise<CalibrationResult> {
  const { settings, output, checkpoint, decoder, target, form } = await prepare(options, locateModel);
  const { signal, onProgress } = options;
  const name = await modelName(checkpoint.folder);
  const onto = options.onto === undefined ? undefined : await modelName(target.checkpoint.folder);

  const { tokenizer, data, encoded, measured } = await withUnchangedInput(checkpoint, () =>
    encodeAndMeasure(checkpoint, decoder, options, settings),
  );
  const { tokenIds, tokens } = encoded;
  const { provider, result } = measured;
  const { ranges, experts, timing } = result;
  const notMeasured = inputsBesideText(checkpoint.config);

  const { format, dtype, headroom } = settings;
  const scales = ranges.map((range) => form.written(scaleLayer(range, dtype, headroom)));
  const { names } = target;
  const record = {
    ...settings,
    provider,
    checkpoint,
    name,
    onto,
    dataName: data.name,
    samples: tokenIds.length,
    samplesAtMost: settings.samples,
    tokens,
    tokenizerSha256: tokenizer.tokenizerSha256,
    specialTokens: tokenizer.special.source,
    promptsSha256: encoded.textsSha256,
    ranges,
    scales,
    experts,
    names,
    assumeHarmless: [...new Set(options.assumeHarmless)],
    quantizedWeights: decoder.quantization,
    notMeasured,
  };
  const content: CheckpointContent = {
    scales: scaleTensors(form.tensors, scales, names),
    metadata: recordMetadata(record),
    configText: form.configText,
    sideTexts: form.sideTexts,
    recordText: recordText(record),
  };
  const onCopied: WriteOptions["onCopied"] = (copiedBytes, totalBytes) =>
    onProgress?.({ stage: "write", copiedBytes, totalBytes });
  const force = options.force ?? false;
  const written = options.inPlace
    ? await writeInPlace(target.checkpoint, content, force)
    : await writeNewCheckpoint(target.checkpoint, output, content, { force, signal, onCopied });

  const warnings = warningsOf({
    ranges,
    scales,
    experts,
    format,
    tokens: tokenIds.map((ids) => ids.length),
    truncatedPrompts: encoded.truncated,
    sequenceLength: settings.sequenceLength,
    notMeasured,
  });
  warnings.unshift(
    ...checkpoint.warnings,
    ...target.warnings,
    ...form.warnings,
    ...measured.warnings,
    ...untestedWarning(provider),
    ...quantizationWarnings(decoder),
    ...narrowingWarnings(storedTypeOf(checkpoint, decoder), [result.elementType]),
    ...result.warnings,
    ...(written?.warnings ?? []),
  );
  warnings.push(...promptWarnings(data, tokenizer));
  return {
    output,
    inPlace: options.inPlace ?? false,
    onto: options.onto === undefined ? undefined : target.checkpoint.folder,
    modelType: decoder.modelType,
    format,
    dtype,
    headroom,
    provider,
    computedIn: result.elementType,
    samples: tokenIds.length,
    tokens,
    timing,
    placement: written?.placement,
    ranges,
    scales,
    experts,
    notMeasured,
    engines: form.engines,
    convertTo: form.convertTo,
    quantizedWeights: decoder.quantization,
    warnings,
  };
}

/**
 * What `calibrate` would do with the same options: all that it checks is checked, and nothing stays written.
 * @throws as calibrate; UsageError for a model that is to be downloaded
 */
export async function planCalibration(options: CalibrateOptions): Promise<DryRun> {
  const begin = performance.now();
  const { settings, output, checkpoint, decoder, target, form, bytes } = await prepare(options, locateWithoutDownload);
  const { devices, memory, signal, onProgress } = options;
  onProgress?.({ stage: "tokenize" });
  const tokenizer = startTokenizerProcess({ folder: checkpoint.folder, signal });
  try {
    await tokenizer.open();
    const { prompts } = await readDataWithoutDownload({ ...options, shipped: SHIPPED_PROMPTS });
    const { vocabularySize } = decoder;
    const { tokenIds } = await encodePrompts(prompts, tokenizer, { ...settings, vocabularySize });
    tokenizer.stop();
    onProgress?.({ stage: "try" });
    const tried = await tryWork({
      ...{ command: "calibrate", checkpoint, decoder, tokenIds, lastLayer: "keys-values", devices, memory, signal },
      providers: providersToTry(settings.provider, devices),
      ...{ passes: 1, headPasses: 0, statesAtOnce: 1 },
      writes: { paths: [output], bytes },
      preparedSeconds: (performance.now() - begin) / 1000,
    });
    const warnings = [...tried.warnings, ...target.warnings, ...form.warnings];
    return { ...tried, warnings, ...(options.onto !== undefined && { onto: target.checkpoint.folder }) };
  } finally {
    tokenizer.stop();
  }
}

/** What comes before tokenizing: everything that is wrong with options, checkpoint and output is found here. */
async function prepare(options: CalibrateOptions, locate: (options: LocateOptions) => Promise<LocatedModel>) {
  requireKnownOptions("calibrate", options);
  const settings = completeSettings(options);
  const { signal, onProgress } = options;
  throwIfAborted(signal);
  const { onto, inPlace = false, force = false } = options;
  // In place means the folder whose weights the result has.
  const located = await locate({ ...options, inPlace: onto === undefined && inPlace });
  onProgress?.({ stage: "open" });
  const checkpoint = await untilInterrupted(signal, openCheckpoint(located.folder));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors, options);
  const names = scaleNames(cacheSites(decoder));
  const target =
    onto === undefined
      ? { located, checkpoint, names, warnings: [] }
      : await openSibling(
          { checkpoint, names, assumeHarmless: options.assumeHarmless },
          { ...options, model: onto },
          locate,
        );
  const output = inPlace ? target.located.folder : await placeOfResult(target.located, options.output, "FP8-KV");
  const form = await chooseOutputForm(target.checkpoint, settings.format, settings.dtype, target.names);
  layOutCheckpoint(target.checkpoint, []);
  const bytes = inPlace
    ? await tryInPlace(target.checkpoint, force).then(() => SMALL_FILES_BYTES)
    : await tryNewFolder(target.checkpoint, output, force);
  return { settings, output, checkpoint, decoder, target, form, bytes };
}

/** Of the shipped ones on average, about; how many they really are is known when the processes have been started. */
const TOKENS_OF_A_PROMPT = 384;

/** Tokenizes while the computing processes start, then measures. */
async function encodeAndMeasure(
  checkpoint: Checkpoint,
  decoder: Decoder,
  options: CalibrateOptions,
  settings: Settings,
) {
  const { devices, memory, signal, onProgress } = options;
  const providers = providersToTry(settings.provider, devices);
  const tokens = settings.samples * Math.min(TOKENS_OF_A_PROMPT, settings.sequenceLength);
  const start = (provider: ProviderName) =>
    startWorkers({ provider, devices, checkpoint, decoder, memory, tokens, signal });
  const tokenizer = startTokenizerProcess({ folder: checkpoint.folder, signal });
  const first = start(providers[0]).then((workers) => warmUpAll(workers, checkpoint, decoder));
  try {
    // What is wrong with the provider alone counts when it is to measure: another may then take its place.
    await first.catch((error: unknown) => {
      if (!(error instanceof ProviderError)) throw error;
    });
    onProgress?.({ stage: "tokenize" });
    const opened = await tokenizer.open();
    const data = await readData({ ...options, shipped: SHIPPED_PROMPTS });
    const encoded = await encodePrompts(data.prompts, tokenizer, {
      ...settings,
      vocabularySize: decoder.vocabularySize,
    });
    tokenizer.stop(); // its memory is free for measuring
    const measured = await onFirstThatWorks(providers, async (provider) =>
      measure(await (provider === providers[0] ? first : start(provider)), encoded),
    );
    return { tokenizer: opened, data, encoded, measured };
  } finally {
    tokenizer.stop();
    await first.then(stopAll, () => {});
  }

  async function measure(workers: readonly Worker[], { tokenIds, tokens }: EncodedPrompts): Promise<MeasuredRanges> {
    try {
      return await measureInProcesses(workers, {
        ...{ checkpoint, decoder, tokenIds, signal },
        onProgress: (progress) => onProgress?.({ stage: "measure", tokens, ...progress }),
      });
    } finally {
      stopAll(workers);
    }
  }
}

/** What the first run on a device costs is paid while prompts are tokenized. */
function warmUpAll(workers: readonly Worker[], checkpoint: Checkpoint, decoder: Decoder): readonly Worker[] {
  for (const { process, plan } of workers) {
    const { warmsUp = false }: Provider = PROVIDERS[plan.provider];
    if (warmsUp) process.warmUp({ checkpoint, decoder, plan });
  }
  return workers;
}

interface Settings {
  readonly format: OutputFormatName;
  readonly dtype: Float8Name;
  readonly headroom: number;
  readonly samples: number;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly provider: ProviderChoice;
}

/** Fills in the defaults and checks values that types cannot. */
function completeSettings(options: CalibrateOptions): Settings {
  const settings: Settings = {
    format: options.format ?? CALIBRATION_DEFAULTS.format,
    dtype: options.dtype ?? CALIBRATION_DEFAULTS.dtype,
    headroom: options.headroom ?? CALIBRATION_DEFAULTS.headroom,
    samples: options.samples ?? CALIBRATION_DEFAULTS.samples,
    sequenceLength: options.sequenceLength ?? CALIBRATION_DEFAULTS.sequenceLength,
    seed: options.seed ?? CALIBRATION_DEFAULTS.seed,
    provider: options.provider ?? CALIBRATION_DEFAULTS.provider,
  };
  requireText("model", options.model, A_MODEL);
  if (options.onto !== undefined) requireText("onto", options.onto, A_MODEL);
  requireKey("format", settings.format, OUTPUT_FORMATS);
  requireKey("dtype", settings.dtype, FLOAT8_FORMATS);
  requireKey("provider", settings.provider, PROVIDER_CHOICES);
  requireComputeOptions(options);
  requireDtypeOfFormat(settings.format, settings.dtype);
  requireNumber("headroom", settings.headroom, 1, 16);
  for (const key of ["samples", "sequenceLength"] as const) requireInteger(key, settings[key], 1);
  requireInteger("seed", settings.seed, 0, LARGEST_SEED);
  requireOnePlace(options);
  return settings;
}

function scaleLayer({ layer, k, v }: LayerRange, dtype: Float8Name, headroom: number): LayerScales {
  try {
    return computeLayerScales(layer, { k: k.absmax, v: v.absmax }, dtype, headroom);
  } catch (cause) {
    throw new CheckpointError(`Layer ${layer}: no scale can be computed: absmax of K ${k.absmax}, of V ${v.absmax}`, {
      cause,
    });
  }
}
