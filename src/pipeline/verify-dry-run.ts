// What a verification would do: the same preparation, then a second that is really computed instead of the whole. Writes
// nothing.

import { cacheSites } from "../architectures/cache-sites.js";
import { describeModelEnd } from "../architectures/registry.js";
import { openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { throwIfAborted } from "../errors.js";
import { untilInterrupted } from "../interrupts.js";
import { HELD_OUT_PROMPTS } from "../prompts/read-prompts.js";
import { describeCheckpoint } from "./describe-checkpoint.js";
import { type DryRun, locateWithoutDownload, readDataWithoutDownload, tryWork } from "./dry-run.js";
import { encodeWindows } from "./encode-prompts.js";
import { requireSteps } from "./generation.js";
import { requireKnownOptions } from "./known-options.js";
import { MAX_LAYER_ARMS } from "./layers-alone.js";
import { startTokenizerProcess } from "./tokenizer-process.js";
import { chooseCaches } from "./verify-caches.js";
import { completeSettings, type VerifyOptions } from "./verify-settings.js";
import { encodeRetrievalTexts } from "./verify-texts.js";

/**
 * What `verify` would do with the same options, `generate` aside. Nothing is written.
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
  const decoder = describeCheckpoint(checkpoint, options);
  describeModelEnd(checkpoint.tensors, decoder);
  if (options.generate !== undefined) requireSteps(decoder);
  const { arms } = await chooseCaches(checkpoint, decoder, settings, cacheSites(decoder));
  onProgress?.({ stage: "tokenize" });
  const tokenizer = startTokenizerProcess({ folder, signal });
  try {
    await tokenizer.open();
    const { prompts } = await readDataWithoutDownload({ ...options, shipped: HELD_OUT_PROMPTS });
    const { vocabularySize } = decoder;
    const texts = await encodeWindows(prompts, tokenizer, { ...settings, vocabularySize });
    const tokenIds = texts.map(({ ids }) => ids);
    const compared = arms.length;
    const retrieval = await encodeRetrievalTexts(options, settings, { checkpoint, decoder, compared }, tokenizer);
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
      ...(retrieval !== undefined && { longTexts: { ...retrieval, passes: arms.length } }),
      evaluations: 1 + baselines + (retrieval === undefined ? 0 : 1),
      writes: { paths: reports, bytes: 0 },
      preparedSeconds: (performance.now() - begin) / 1000,
    });
  } finally {
    tokenizer.stop();
  }
}
