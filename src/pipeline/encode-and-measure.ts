// From a described checkpoint to its ranges: prompts are read and tokenized while the computing processes start, then
// these measure. Starts and ends the processes; knows nothing of scales.

import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { ProviderError } from "../errors.js";
import { SHIPPED_PROMPTS } from "../prompts/read-prompts.js";
import { PROVIDERS, type Provider, type ProviderName } from "../runtime/providers.js";
import type { CalibrateOptions, CalibrationSettings } from "./calibrate-settings.js";
import { onFirstThatWorks, providersToTry } from "./choose-provider.js";
import { type EncodedPrompts, encodePrompts } from "./encode-prompts.js";
import { measureInProcesses } from "./measure-in-processes.js";
import type { MeasuredRanges } from "./measure-ranges.js";
import { readData } from "./read-data.js";
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
