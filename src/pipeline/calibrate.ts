// The story of a calibration: open, describe, encode, measure, scale, write. The only place that joins the parts; prints
// nothing and knows no command line.

import { cacheSites } from "../architectures/cache-sites.js";
import { inputsBesideText } from "../architectures/wrappers.js";
import { withUnchangedInput } from "../checkpoint/input-changes.js";
import { openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { SMALL_FILES_BYTES, tryInPlace, tryNewFolder } from "../checkpoint/output-checks.js";
import { chooseOutputForm } from "../checkpoint/output-form.js";
import { scaleNames, scaleTensors } from "../checkpoint/output-formats.js";
import { layOutCheckpoint } from "../checkpoint/output-layout.js";
import { type CheckpointContent, type WriteOptions, writeNewCheckpoint } from "../checkpoint/write-checkpoint.js";
import { writeInPlace } from "../checkpoint/write-in-place.js";
import { throwIfAborted } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { forecastLayers } from "../numerics/layer-levels.js";
import { SHIPPED_PROMPTS } from "../prompts/read-prompts.js";
import { type CalibrateOptions, completeSettings } from "./calibrate-settings.js";
import { recordMetadata, recordText } from "./calibration-record.js";
import type { CalibrationResult } from "./calibration-result.js";
import { providersToTry, untestedWarning } from "./choose-provider.js";
import { narrowingWarnings, storedTypeOf } from "./compute-plan.js";
import { describeCheckpoint } from "./describe-checkpoint.js";
import { type DryRun, locateWithoutDownload, readDataWithoutDownload, tryWork } from "./dry-run.js";
import { encodeAndMeasure, encodeForCalibration } from "./encode-and-measure.js";
import { requireKnownOptions } from "./known-options.js";
import { scaleLayers } from "./layer-scales.js";
import { type LocatedModel, type LocateOptions, locateModel, placeOfResult } from "./locate-model.js";
import { quantizationWarnings } from "./quantized-weights.js";
import { modelName } from "./run-names.js";
import { openSibling } from "./sibling.js";
import { startTokenizerProcess } from "./tokenizer-process.js";
import { promptWarnings, warningsOf } from "./warnings.js";

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

  const { tokenizer, data, encoded, measured, rounds } = await withUnchangedInput(checkpoint, () =>
    encodeAndMeasure(checkpoint, decoder, options, settings),
  );
  const { tokenIds, tokens } = encoded;
  const { provider, result } = measured;
  const { ranges, experts, timing } = result;
  const notMeasured = inputsBesideText(checkpoint.config);

  const { format, dtype, headroom, serving } = settings;
  const lengths = tokenIds.map((ids) => ids.length);
  const forecast = forecastLayers(ranges, lengths, serving);
  const scales = scaleLayers(ranges, forecast, settings).map(form.written);
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
    rounds,
    tokens,
    tokenizerSha256: tokenizer.tokenizerSha256,
    specialTokens: tokenizer.special.source,
    promptsSha256: encoded.textsSha256,
    ranges,
    scales,
    forecast,
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
    headroom,
    rounds,
    tokens: lengths,
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
    serving,
    provider,
    computedIn: result.elementType,
    samples: tokenIds.length,
    rounds,
    tokens,
    timing,
    placement: written?.placement,
    ranges,
    scales,
    forecast,
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
    const { tokenIds } = await encodeForCalibration(prompts, tokenizer, decoder, settings);
    tokenizer.stop();
    onProgress?.({ stage: "try" });
    const tried = await tryWork({
      ...{ command: "calibrate", checkpoint, decoder, tokenIds, lastLayer: "keys-values", devices, memory, signal },
      providers: providersToTry(settings.provider, devices),
      ...{ passes: 1, headPasses: 0, statesAtOnce: 1 },
      writes: { paths: [output], bytes },
      mayBeFewer: settings.samples === "auto",
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
  const decoder = describeCheckpoint(checkpoint, options);
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
