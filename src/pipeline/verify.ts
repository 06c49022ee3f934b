// The story of a verification: open, read the scales, encode held-out text, evaluate the arms, decide. Writes nothing,
// prints nothing, and knows no command line.

import { cacheSites } from "../architectures/cache-sites.js";
import { describeModelEnd } from "../architectures/registry.js";
import { withUnchangedInput } from "../checkpoint/input-changes.js";
import { openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { throwIfAborted } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { effectivePassages, pairedDifference } from "../metrics/block-mean.js";
import { countModelNll } from "../metrics/count-model.js";
import { chooseLayersToKeep } from "../metrics/layers-to-keep.js";
import { judgedRetrieval } from "../metrics/retrieval-metrics.js";
import { outcomeOf } from "../metrics/thresholds.js";
import { decideVerdict } from "../metrics/verdict.js";
import { untestedWarning } from "./choose-provider.js";
import { narrowingWarnings, storedTypeOf } from "./compute-plan.js";
import { describeCheckpoint } from "./describe-checkpoint.js";
import { CacheEvaluator } from "./evaluate-caches.js";
import { positionsIn } from "./evaluate-head.js";
import { generateThroughCaches, requireSteps } from "./generation.js";
import { requireKnownOptions } from "./known-options.js";
import { measureLayersAlone, measureWithLayersIn16Bits } from "./layers-alone.js";
import { locateModel } from "./locate-model.js";
import { quantizationWarnings } from "./quantized-weights.js";
import { describeRetrieval } from "./retrieval.js";
import { servingEngine } from "./serving-engine.js";
import { startTokenizerProcess } from "./tokenizer-process.js";
import { binPositions, describeArms, extraDivergence, positionsOf } from "./verify-arms.js";
import { chooseCaches } from "./verify-caches.js";
import type { ArmName, ArmResult, VerifyResult } from "./verify-result.js";
import { completeSettings, type VerifyOptions } from "./verify-settings.js";
import { encodeTexts } from "./verify-texts.js";

/**
 * Verifies a checkpoint: what does its FP8 cache cost?
 * @throws UsageError, PromptDataError, CheckpointError, HubError, UnsupportedModelError, ProviderError,
 * InterruptedError: see errors.ts
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  requireKnownOptions("verify", options);
  const { memory, signal, onProgress } = options;
  const settings = completeSettings(options);
  const { thresholds, devices } = settings;
  throwIfAborted(signal);
  const { folder } = await locateModel(options);
  await options.onFolder?.(folder);
  onProgress?.({ stage: "open" });
  const checkpoint = await untilInterrupted(signal, openCheckpoint(folder));
  const decoder = describeCheckpoint(checkpoint, options);
  const end = describeModelEnd(checkpoint.tensors, decoder);
  if (options.generate !== undefined) requireSteps(decoder);
  const sites = cacheSites(decoder);
  const caches = await chooseCaches(checkpoint, decoder, settings, sites);
  const { rounding, arms, ordered, subject: subjectName } = caches;

  onProgress?.({ stage: "tokenize" });
  const startTokenizer = () => startTokenizerProcess({ folder, signal });
  const stored = { bits16: "16-bit", fp8: subjectName } as const;
  const facts = {
    checkpoint,
    decoder,
    end,
    rounding,
    caches: stored,
    startTokenizer,
    memory,
    signal,
    compared: ordered.length,
  };
  const texts = await encodeTexts(options, settings, facts, startTokenizer());
  const { windows, places, tokens } = texts;

  const evaluator = new CacheEvaluator({
    ...{ checkpoint, decoder, end, roundings: rounding.roundings, devices, memory, signal },
    providers: settings.providers,
    onProgress: (progress) => onProgress?.({ stage: "evaluate", ...progress }),
  });
  const uniform = ordered.map((arm) => sites.map(() => rounding.indexOf(arm)));
  const evaluated = await evaluator.evaluate(`${ordered.length} caches`, uniform, { windows });
  const retrieval =
    texts.retrieval &&
    describeRetrieval(texts.retrieval, ordered, await evaluator.evaluate("retrieval", uniform, texts.retrieval));
  const armOf = (name: ArmName) => evaluated[ordered.indexOf(name)];
  const results = describeArms(caches, armOf, places, sites);
  const subject = results.find(({ name }) => name === subjectName);
  if (subject === undefined) throw new RangeError(`arm ${subjectName} was not evaluated`);

  const layersRequest = { evaluator, caches, sites, windows, places, retrieval: texts.retrieval };
  const layerEffects = settings.perLayer ? await measureLayersAlone(layersRequest) : [];
  const judged = (arm: ArmResult) => ({ metrics: arm, retrieval: judgedRetrieval(retrieval, arm.name) });
  const kept =
    outcomeOf(judged(subject), thresholds) === "beyond"
      ? (chooseLayersToKeep(layerEffects, subject.divergence.mean.value, thresholds) ?? [])
      : [];
  const withLayersIn16Bits = kept.length === 0 ? undefined : await measureWithLayersIn16Bits(layersRequest, kept);

  const { generation } = texts;
  const generated =
    generation &&
    (await withUnchangedInput(checkpoint, () =>
      generateThroughCaches(
        generation,
        { provider: evaluator.provider, computedIn: evaluator.computedIn },
        { signal, onProgress: (progress) => onProgress?.({ stage: "generate", ...progress }) },
      ),
    ));

  const { provider, computedIn } = evaluator;
  const baselineNll = positionsOf(evaluated[0]).negativeLogLikelihood;
  const noise = results.find(({ name }) => name === (settings.baseline === "exact" ? "16-bit" : "exact"));
  const atScale1 = results.find(({ name }) => name === "fp8-at-1");
  const countedNll = countModelNll(windows, decoder.vocabularySize);
  const verdict = decideVerdict({
    subject: { name: subjectName, ...judged(subject) },
    atScale1:
      subjectName === "fp8" && atScale1 !== undefined
        ? { ...judged(atScale1), extraKl: extraDivergence(armOf("fp8-at-1"), armOf("fp8"), places) }
        : undefined,
    noiseFloor: noise && { perplexityRatio: noise.perplexityRatio.value, meanKl: noise.divergence.mean.value },
    thresholds,
    text: {
      amount: tokens,
      observed: new Set(places.map(({ passage }) => passage)).size,
      observations: effectivePassages(places),
    },
    retrievalValues: retrieval?.values,
    baselineNll: mean(baselineNll),
    countModelNll: mean(countedNll),
    gainOverCounting: pairedDifference(countedNll, baselineNll, places),
    layerEffects,
    withLayersIn16Bits,
  });
  return {
    checkpoint: folder,
    modelType: decoder.modelType,
    provider,
    computedIn: computedIn.join(" and "),
    dtype: caches.dtype,
    scaleSource: caches.scales?.source,
    engine: caches.scales && (await servingEngine(folder, caches.scales)),
    baseline: settings.baseline,
    windows: windows.length,
    tokens,
    ...{ data: options.data, seed: settings.seed },
    positions: baselineNll.length,
    arms: results,
    layerEffects,
    positionBins: binPositions(arms, armOf, windows.map(positionsIn)),
    thresholds,
    verdict,
    retrieval,
    generation: generated?.generation,
    warnings: [
      ...checkpoint.warnings,
      ...new Set([...texts.warnings, ...evaluator.warnings, ...(generated?.warnings ?? [])]),
      ...untestedWarning(provider),
      ...quantizationWarnings(decoder),
      ...narrowingWarnings(storedTypeOf(checkpoint, decoder), computedIn),
      ...(caches.scales === undefined ? ["The checkpoint has no KV scales: engines run it at scale 1.0."] : []),
    ],
  };
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
