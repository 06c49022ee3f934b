// Plans into how many processes a run divides the CPU's cores. Pure arithmetic.

export interface CoresRequest {
  /** Usable cores; undefined where they cannot be counted. */
  readonly cores: number | undefined;
  /** Approximate number of tokens to compute. */
  readonly tokens: number;
  /** Size of a layer: each process has at least one in memory. */
  readonly layerBytes: number;
  /** Bytes of weights that all processes may have in memory together. */
  readonly memory?: number | undefined;
  /** Bytes of memory that are free. */
  readonly free: number;
}

export interface ProcessPlan {
  readonly processes: number;
  /** Threads of each process; undefined where one process uses the whole CPU. */
  readonly threads: number | undefined;
}

/**
 * Threads of a process. 16 cores calibrate and verify SmolLM2-135M 1.4 times as fast with four processes of four
 * threads as with one of sixteen; eight processes of two threads are not faster and take twice the memory.
 */
const THREADS_OF_A_PROCESS = 4;
/** With fewer tokens, starting a process takes longer than it saves. */
const TOKENS_OF_A_PROCESS = 2048;
/**
 * Default limit for weights. It has room for one layer of an 8B model, which is large enough for 16 threads: a second
 * process would save 8 % of the time for twice the memory.
 */
const DEFAULT_BYTES = 2 ** 30;
/** Memory of Node, ONNX Runtime and their buffers in a process. */
const RUNTIME_BYTES = 512 * 2 ** 20;
/** Share of the free memory: the rest is for hidden states and for weights in the page cache. */
const SHARE_OF_FREE = 0.5;

/** Plans as many processes as cores, work and memory allow; at least one. */
export function planProcesses({ cores, tokens, layerBytes, memory = DEFAULT_BYTES, free }: CoresRequest): ProcessPlan {
  // Activations inside a layer take about as much memory as its weights.
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
