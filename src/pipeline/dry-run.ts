// What a run would read, compute and write, without doing it: sizes are counted, and the time is extrapolated from a second
// that is really computed. Joins the trials of all processes; writes nothing.

import { cacheSites } from "../architectures/cache-sites.js";
import type { Decoder } from "../architectures/description.js";
import type { Checkpoint } from "../checkpoint/open-checkpoint.js";
import { HubError, UsageError } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import { hiddenTypeOf } from "../graphs/hidden-states.js";
import { hiddenWidth } from "../graphs/segment-parts.js";
import type { QuantizedWeights } from "../numerics/quantized-weights.js";
import type { ProviderName } from "../runtime/providers.js";
import { onFirstThatWorks } from "./choose-provider.js";
import { type LocatedModel, type LocateOptions, locateModel } from "./locate-model.js";
import { type LongTexts, workOfLongTexts } from "./long-texts-work.js";
import { quantizationWarnings } from "./quantized-weights.js";
import { type ReadData, readData } from "./read-data.js";
import { bytesOfTexts } from "./retrieval-memory.js";
import { shareWork, stopAll, type Worker } from "./share-work.js";
import { startWorkers } from "./start-workers.js";
import type { Trial, TrialRequest } from "./trial.js";
import { BYTES_OF_COMPUTE_TYPE } from "./weight-bytes.js";

/** What a run would do. Bytes and seconds of what is to come are estimates; those of the trial were measured. */
export interface DryRun {
  readonly command: "calibrate" | "verify";
  /** The folder of the checkpoint. */
  readonly checkpoint: string;
  /** The folder whose weights the result would have, where that is not the checkpoint's. */
  readonly onto?: string;
  readonly modelType: string;
  /** How the weights are quantized; undefined where they are not. */
  readonly quantizedWeights?: QuantizedWeights | undefined;
  readonly reads: {
    /** Files with weights, and their bytes. */
    readonly weightFiles: number;
    readonly weightBytes: number;
    /** Prompts of a calibration, windows of a verification. */
    readonly prompts: number;
    readonly tokens: number;
    /** Long texts beside, which ask for what they said. */
    readonly longTexts?: { readonly texts: number; readonly tokens: number };
    /** Whether the run may stop before it has computed them all: these are the most. */
    readonly mayBeFewer: boolean;
  };
  readonly computes: {
    readonly provider: ProviderName;
    readonly computedIn: ComputeType;
    readonly processes: number;
    readonly layers: number;
    /** Parts of the model that are in memory one after the other. */
    readonly segments: number;
    /** How often each layer is computed for the same tokens: for each cache that is compared. */
    readonly passes: number;
  };
  readonly memory: {
    /** Of the largest part, in all processes. */
    readonly weightBytes: number;
    /** What waits between two parts, of all tokens. */
    readonly statesBytes: number;
    /** What a layer holds of the longest of the long texts, in all processes; absent without any. */
    readonly longTextBytes?: number;
    /** What the processes had at most while the trial ran. */
    readonly measuredBytes: number;
  };
  readonly writes: {
    /** The folder of the result, or the files of the reports. */
    readonly paths: readonly string[];
    /** New bytes on disk, at most; weights that can be linked are none. */
    readonly bytes: number;
  };
  readonly time: {
    /** How long was computed to measure it, in seconds. */
    readonly measuredSeconds: number;
    readonly loadSeconds: number;
    readonly computeSeconds: number;
    /** All of it, with what was spent on reading headers and tokenizing. */
    readonly totalSeconds: number;
  };
  readonly warnings: readonly string[];
}

export interface WorkToTry {
  readonly command: DryRun["command"];
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly tokenIds: TrialRequest["tokenIds"];
  readonly lastLayer: TrialRequest["lastLayer"];
  readonly providers: readonly ProviderName[];
  readonly devices?: readonly number[] | undefined;
  readonly memory?: number | undefined;
  /** How often the layers are computed, and the head. */
  readonly passes: number;
  readonly headPasses: number;
  /** Caches whose hidden states wait between two segments at the same time. */
  readonly statesAtOnce: number;
  /** Texts that are evaluated beside, of which the head looks at some positions; in as many passes. */
  readonly longTexts?: LongTexts;
  /** How often segments are opened for all that is computed; 1 by default. */
  readonly evaluations?: number;
  readonly writes: DryRun["writes"];
  /** As in `reads` of the result; default: false. */
  readonly mayBeFewer?: boolean;
  /** What was spent so far, in seconds. */
  readonly preparedSeconds: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Computes for about a second what the run would begin with, in as many processes, and extrapolates.
 * @throws ProviderError, UsageError, InterruptedError
 */
export async function tryWork(work: WorkToTry): Promise<DryRun> {
  const { command, checkpoint, decoder, tokenIds, passes, signal } = work;
  const tokens = tokenIds.reduce((sum, ids) => sum + ids.length, 0);
  const { result, provider, warnings } = await onFirstThatWorks(work.providers, async (name) => {
    const workers = await startWorkers({ ...work, provider: name, tokens });
    try {
      return { workers, trials: await tryAll(workers, work) };
    } finally {
      stopAll(workers);
    }
  });
  const { workers, trials } = result;
  const arithmetic = workers[0]?.plan.arithmetic;
  const computedIn = arithmetic?.elementType ?? "float32";
  const headWork = work.headPasses * tokens * decoder.hiddenSize * decoder.vocabularySize;
  const longTexts = work.longTexts?.windows.map(({ length }) => length) ?? [];
  const longTokens = longTexts.reduce((sum, length) => sum + length, 0);
  const products = trials.reduce((sum, { totalWork }) => sum + totalWork, 0) / tokens;
  const longWork = work.longTexts === undefined ? 0 : workOfLongTexts(decoder, work.longTexts, products);
  const headBytes = BYTES_OF_COMPUTE_TYPE[computedIn] * decoder.hiddenSize * decoder.vocabularySize;
  const times = trials.map((trial) =>
    timeOf(trial, passes, {
      work: headWork / trials.length + longWork / Math.min(trials.length, longTexts.length || 1),
      bytes: headWork === 0 ? 0 : headBytes,
    }),
  );
  const loadSeconds = (work.evaluations ?? 1) * maxOf(times, ({ load }) => load);
  const computeSeconds = maxOf(times, ({ compute }) => compute);
  const stateBytes = arithmetic !== undefined && hiddenTypeOf(arithmetic) === "float16" ? 2 : 4;
  const long =
    work.longTexts && arithmetic
      ? bytesOfTexts({ decoder, arithmetic, caches: work.longTexts.passes }, longTokens, Math.max(0, ...longTexts))
      : undefined;
  const layers = (cacheSites(decoder).at(-1)?.layer ?? -1) + 1;
  return {
    ...{ command, checkpoint: checkpoint.folder, modelType: decoder.modelType, quantizedWeights: decoder.quantization },
    reads: {
      weightFiles: checkpoint.shards.length,
      weightBytes: checkpoint.shards.reduce((sum, { header }) => sum + header.fileBytes, 0),
      prompts: tokenIds.length,
      tokens,
      ...(longTexts.length > 0 && { longTexts: { texts: longTexts.length, tokens: longTokens } }),
      mayBeFewer: work.mayBeFewer ?? false,
    },
    computes: {
      ...{ provider, computedIn, processes: workers.length, passes },
      layers: work.lastLayer === "layer" ? decoder.layers.length : layers,
      segments: maxOf(trials, ({ segments }) => segments),
    },
    memory: {
      weightBytes: trials.reduce((sum, { largestBytes }) => sum + largestBytes, 0),
      statesBytes: Math.max(work.statesAtOnce * tokens * hiddenWidth(decoder) * stateBytes, long?.states ?? 0),
      ...(long && { longTextBytes: Math.min(workers.length, longTexts.length) * long.inside }),
      measuredBytes: trials.reduce((sum, { residentBytes }) => sum + residentBytes, 0),
    },
    writes: work.writes,
    time: {
      measuredSeconds: maxOf(trials, ({ seconds }) => seconds),
      ...{ loadSeconds, computeSeconds },
      totalSeconds: work.preparedSeconds + loadSeconds + computeSeconds,
    },
    warnings: [...checkpoint.warnings, ...warnings, ...quantizationWarnings(decoder)],
  };

  function tryAll(workers: readonly Worker[], { lastLayer }: WorkToTry): Promise<Trial[]> {
    return shareWork(workers, "try", (part) => ({ ...part, checkpoint, decoder, tokenIds, lastLayer, signal }));
  }
}

/** What a process would take. Work is in multiplications by weights, as in a trial. */
function timeOf(
  { work, seconds, totalWork, openSeconds, openedBytes, totalBytes }: Trial,
  passes: number,
  head: { readonly work: number; readonly bytes: number },
): { readonly load: number; readonly compute: number } {
  const load = openedBytes === 0 ? openSeconds : (openSeconds / openedBytes) * (totalBytes + head.bytes);
  return { load, compute: work === 0 ? 0 : (seconds / work) * (totalWork * passes + head.work) };
}

function maxOf<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return Math.max(0, ...items.map(of));
}

/**
 * As locateModel, without a download.
 * @throws UsageError for a model that is not in the hub's cache
 */
export function locateWithoutDownload(options: LocateOptions): Promise<LocatedModel> {
  return withoutDownload(options.model, (env) => locateModel(options, env));
}

/**
 * As readData, without a download.
 * @throws UsageError for a data set that is not in the hub's cache
 */
export function readDataWithoutDownload(options: Parameters<typeof readData>[0]): Promise<ReadData> {
  return withoutDownload(options.data ?? "", (env) => readData(options, env));
}

async function withoutDownload<Result>(
  name: string,
  work: (env: NodeJS.ProcessEnv) => Promise<Result>,
): Promise<Result> {
  try {
    return await work({ ...process.env, HF_HUB_OFFLINE: "1" });
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    throw new UsageError(
      `${name}: is not whole in the hub's cache, and a dry run downloads nothing. Download it first, such as with hf download, or give a folder.`,
      { cause: error },
    );
  }
}
