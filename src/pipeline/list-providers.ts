// Finds out which providers work on this machine: each calibrates the embedded example in a process of its own, and is
// compared with the CPU. So "usable" means that a calibration runs and is right. A driver that crashes ends only that
// process, and the list says so.

import type { Decoder } from "../architectures/description.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.js";
import { KvScalesError, throwIfAborted } from "../errors.js";
import type { ComputeType } from "../graphs/arithmetic.js";
import { untilInterrupted } from "../interrupts.js";
import { type LayerRange, largestRangeDeviation } from "../numerics/ranges.js";
import { type Device, nvidiaDevices } from "../runtime/devices.js";
import { hasNoGpu, type Obstacle, obstacleOf } from "../runtime/provider-obstacles.js";
import { PROVIDERS, type Provider, type ProviderName } from "../runtime/providers.js";
import { describeCheckpoint } from "./describe-checkpoint.js";
import { measureInProcesses } from "./measure-in-processes.js";
import { EMBEDDED_EXAMPLE } from "./run-options.js";
import { stopAll } from "./share-work.js";
import { startWorkers } from "./start-workers.js";

export interface ListProvidersOptions {
  /** Milliseconds after which a provider counts as one that hangs. */
  readonly timeLimitMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ProbeProgress) => void) | undefined;
}

export interface ProbeProgress {
  readonly stage: "probe";
  readonly provider: ProviderName;
}

export interface ListedProvider {
  readonly provider: ProviderName;
  readonly description: string;
  readonly usable: boolean;
  /** The type in which 16-bit weights are computed; undefined when it is not usable. */
  readonly computesIn: ComputeType | undefined;
  /** Largest relative difference to the CPU's absmax over the example's layers; undefined when nothing was measured. */
  readonly deviation: number | undefined;
  /** Why it is not usable, and the command that would change that, if there is one. */
  readonly obstacle: Obstacle | undefined;
  /** Notes: another precision than usual, untested, skipped by `auto`. */
  readonly remarks: readonly string[];
  /** Whether `--provider auto` tries it first. */
  readonly isAutomatic: boolean;
}

export interface ProviderList {
  readonly providers: readonly ListedProvider[];
  /** NVIDIA GPUs, as the driver lists them. */
  readonly devices: readonly Device[];
}

/** A provider that differs more from the CPU is wrong: bfloat16 and float16 stay well below. */
const MAX_DEVIATION = 0.1;
/** Drivers can hang; the slowest working one takes a few seconds. */
const TIME_LIMIT_MS = 60_000;
const PROBE_TOKENS = 192;

/**
 * Tests every provider.
 * @throws InterruptedError; what is wrong with a provider is in the list
 */
export async function listProviders({
  timeLimitMs = TIME_LIMIT_MS,
  signal,
  onProgress,
}: ListProvidersOptions = {}): Promise<ProviderList> {
  const checkpoint = await openCheckpoint(EMBEDDED_EXAMPLE);
  const decoder = describeCheckpoint(checkpoint);
  const probe = (provider: ProviderName) => {
    onProgress?.({ stage: "probe", provider });
    return probeProvider(provider, { checkpoint, decoder, timeLimitMs, signal });
  };
  // The CPU first: the others are compared with it.
  const reference = await probe("cpu");
  const tried = new Map<ProviderName, Probe>([["cpu", reference]]);
  const names = Object.keys(PROVIDERS) as ProviderName[];
  for (const name of names) if (name !== "cpu") tried.set(name, await probe(name));
  const listed = names.map((name) => describeProbe(name, tried.get(name) ?? {}, reference));
  const automatic = listed.find(({ provider, usable }) => usable && !hasNoGpu(provider))?.provider;
  return {
    providers: listed.map((entry) => ({ ...entry, isAutomatic: entry.provider === automatic })),
    devices: await untilInterrupted(signal, nvidiaDevices()),
  };
}

interface ProbeRequest {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly timeLimitMs: number;
  readonly signal: AbortSignal | undefined;
}

interface Probe {
  readonly obstacle?: Obstacle;
  readonly computesIn?: ComputeType;
  readonly ranges?: readonly LayerRange[];
  readonly warnings?: readonly string[];
}

/** Measures the example on a provider, unless there is a visible obstacle. */
async function probeProvider(
  provider: ProviderName,
  { checkpoint, decoder, timeLimitMs, signal }: ProbeRequest,
): Promise<Probe> {
  throwIfAborted(signal);
  const obstacle = obstacleOf(provider);
  if (obstacle !== undefined) return { obstacle };
  const limit = AbortSignal.timeout(timeLimitMs);
  try {
    const workers = await startWorkers({ provider, checkpoint, decoder, signal });
    try {
      const { elementType, ranges, warnings } = await measureInProcesses(workers, {
        ...{ checkpoint, decoder, tokenIds: probeTokens(decoder.vocabularySize) },
        signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
      });
      return { computesIn: elementType, ranges, warnings };
    } finally {
      stopAll(workers);
    }
  } catch (error) {
    throwIfAborted(signal);
    if (limit.aborted) return { obstacle: { what: `no result within ${timeLimitMs / 1000} seconds` } };
    if (error instanceof KvScalesError) return { obstacle: { what: error.message } };
    throw error;
  }
}

/** Two prompts of different lengths, so that there is padding. Any tokens will do. */
function probeTokens(vocabularySize: number): number[][] {
  const tokens = Array.from({ length: PROBE_TOKENS }, (_, index) => (index * 97) % vocabularySize);
  return [tokens, tokens.slice(0, PROBE_TOKENS / 3)];
}

function describeProbe(
  name: ProviderName,
  { obstacle, computesIn, ranges, warnings = [] }: Probe,
  reference: Probe,
): Omit<ListedProvider, "isAutomatic"> {
  const { description, untested = false }: Provider = PROVIDERS[name];
  const deviation =
    ranges === undefined || reference.ranges === undefined
      ? undefined
      : largestRangeDeviation(ranges, reference.ranges);
  const isWrong = deviation !== undefined && !(deviation <= MAX_DEVIATION);
  const found = isWrong ? { what: wrongResult(deviation) } : obstacle;
  return {
    ...{ provider: name, description, deviation, obstacle: found },
    usable: found === undefined,
    computesIn: found === undefined ? computesIn : undefined,
    remarks: [
      ...(found === undefined ? warnings : []),
      ...(untested ? ["Nobody has run it yet."] : []),
      ...(found === undefined && hasNoGpu(name) ? ["auto skips it: there is no GPU that it could run on."] : []),
    ],
  };
}

function wrongResult(deviation: number): string {
  return `its results differ from the CPU's: the example's absmax by ${(100 * deviation).toFixed(0)} %`;
}
