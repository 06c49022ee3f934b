// Into how many processes a run divides the processor's cores. Pure arithmetic; asks nobody how many there are.

export interface CoresRequest {
  /** Cores that may be used; undefined where they cannot be counted. */
  readonly cores: number | undefined;
  /** Tokens to compute, about. */
  readonly tokens: number;
  /** What a layer takes: each process has one in memory, at least. */
  readonly layerBytes: number;
  /** Bytes of weights that all processes may have in memory together. */
  readonly memory?: number | undefined;
  /** Bytes of memory that are free. */
  readonly free: number;
}

export interface ProcessPlan {
  readonly processes: number;
  /** Of each process; undefined where one has the whole processor. */
  readonly threads: number | undefined;
}

/**
 * Threads that share an operator well: 16 cores calibrate and verify SmolLM2-135M 1.4 times as fast with four processes of
 * four threads as with one of sixteen; with eight of two as fast, for twice the memory.
 */
const THREADS_OF_A_PROCESS = 4;
/** A process for less work takes longer to start than it saves. */
const TOKENS_OF_A_PROCESS = 2048;
/**
 * For weights, where the user has set no limit. Layers of 8B, of which it has room for one, are large enough for 16 threads:
 * a second process would save 8 % of their time for twice the memory.
 */
const DEFAULT_BYTES = 2 ** 30;
/** What Node, ONNX Runtime and their buffers take in a process. */
const RUNTIME_BYTES = 512 * 2 ** 20;
/** Of what is free: hidden states and weights that are read are not counted. */
const SHARE_OF_FREE = 0.5;

/** Plans as many processes as cores, work and memory are enough for; one, if there is not enough for two. */
export function planProcesses({ cores, tokens, layerBytes, memory = DEFAULT_BYTES, free }: CoresRequest): ProcessPlan {
  // Activations inside a layer take about as much as its weights.
  const processBytes = RUNTIME_BYTES + 2 * layerBytes;
  const processes = Math.floor(
    Math.min(
      (cores ?? 1) / THREADS_OF_A_PROCESS,
      tokens / TOKENS_OF_A_PROCESS,
      memory / layerBytes,
      (SHARE_OF_FREE * free) / processBytes,
    ),
  );
  if (cores === undefined || processes < 2) return { processes: 1, threads: undefined };
  return { processes, threads: Math.floor(cores / processes) };
}
