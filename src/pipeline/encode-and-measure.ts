// From a described checkpoint to its ranges: prompts are read and tokenized while the computing processes start, then
// these measure. Starts and ends the processes; knows nothing of scales.

import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { ProviderError } from "../errors.js";
import { isEnough } from "../numerics/enough-text.js";
import { forecastSides } from "../numerics/layer-levels.js";
import type { LayerRange } from "../numerics/ranges.js";
import type { ServingForecast, ServingQuestion } from "../numerics/serving-levels.js";
import type { Prompt } from "../prompts/prompt-rows.js";
import { SHIPPED_PROMPTS } from "../prompts/read-prompts.js";
import { PROVIDERS, type Provider, type ProviderName } from "../runtime/providers.js";
import { type CalibrateOptions, type CalibrationSettings, promptsAtMost } from "./calibrate-settings.js";
import { onFirstThatWorks, providersToTry } from "./choose-provider.js";
import { type EncodedPrompts, encodePrompts, firstPrompts, type PromptEncoder } from "./encode-prompts.js";
import { requireTextForLevels } from "./layer-scales.js";
import { readData } from "./read-data.js";
import { type MeasuredRounds, measureInRounds, roundEnds } from "./sample-rounds.js";
import { stopAll, type Worker } from "./share-work.js";
import { startWorkers } from "./start-workers.js";
import { startTokenizerProcess } from "./tokenizer-process.js";

/** Of the shipped ones on average, about; how many they really are is known when the processes have been started. */
const TOKENS_OF_A_PROMPT = 384;

/** Tokenizes while the computing processes start, then measures. */
export async function encodeAndMeasure(
  checkpoint: Checkpoint,
  decoder: Decoder,
  options: CalibrateOptions,
  settings: CalibrationSettings,
) {
  const { devices, memory, signal, onProgress } = options;
  const providers = providersToTry(settings.provider, devices);
  const tokens = promptsAtMost(settings) * Math.min(TOKENS_OF_A_PROMPT, settings.sequenceLength);
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
    const encoded = await encodeForCalibration(data.prompts, tokenizer, decoder, settings);
    tokenizer.stop(); // its memory is free for measuring
    const measured = await onFirstThatWorks(providers, async (provider) =>
      measure(await (provider === providers[0] ? first : start(provider)), encoded),
    );
    const { prompts, isEnough } = measured.result;
    const rounds = settings.samples === "auto" ? { of: encoded.tokenIds.length, isEnough } : undefined;
    return { tokenizer: opened, data, encoded: firstPrompts(encoded, prompts), measured, rounds };
  } finally {
    tokenizer.stop();
    await first.then(stopAll, () => {});
  }

  async function measure(workers: readonly Worker[], { tokenIds }: EncodedPrompts): Promise<MeasuredRounds> {
    const inRounds = settings.samples === "auto";
    const lengths = tokenIds.map((ids) => ids.length);
    try {
      return await measureInRounds(workers, {
        ...{ checkpoint, decoder, tokenIds, signal },
        ends: inRounds ? roundEnds(tokenIds.length) : [tokenIds.length],
        isEnough: inRounds ? stopRule(lengths, settings.serving) : () => true,
        onProgress: (progress, round) => {
          const tokens = lengths.slice(round.first - 1, round.last).reduce((sum, length) => sum + length, 0);
          onProgress?.({ stage: "measure", tokens, ...progress, ...(inRounds && { round }) });
        },
      });
    } finally {
      stopAll(workers);
    }
  }
}

/**
 * Encodes the prompts that the settings choose.
 * @throws as encodePrompts, PromptDataError also for too little text for levels that are to be written
 */
export async function encodeForCalibration(
  prompts: readonly Prompt[],
  tokenizer: PromptEncoder,
  { vocabularySize }: Decoder,
  settings: CalibrationSettings,
): Promise<EncodedPrompts> {
  const encoded = await encodePrompts(prompts, tokenizer, {
    ...{ ...settings, samples: promptsAtMost(settings), vocabularySize },
  });
  requireTextForLevels(
    encoded.tokenIds.map((ids) => ids.length),
    settings,
  );
  return encoded;
}

/** What the first run on a device costs is paid while prompts are tokenized. */
function warmUpAll(workers: readonly Worker[], checkpoint: Checkpoint, decoder: Decoder): readonly Worker[] {
  for (const { process, plan } of workers) {
    const { warmsUp = false }: Provider = PROVIDERS[plan.provider];
    if (warmsUp) process.warmUp({ checkpoint, decoder, plan });
  }
  return workers;
}

/** Says after each round whether more prompts would change nothing that matters. @param lengths tokens of all prompts */
function stopRule(lengths: readonly number[], question: ServingQuestion) {
  let previous: ServingForecast | undefined;
  return (ranges: readonly LayerRange[], prompts: number): boolean => {
    const latest = forecastSides(ranges, lengths.slice(0, prompts), question);
    const enough = previous !== undefined && isEnough(previous, latest);
    previous = latest;
    return enough;
  };
}
