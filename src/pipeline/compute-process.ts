// Computes in a child process. ONNX Runtime computes on the calling thread, so this keeps the terminal responsive and
// Ctrl-C immediate. It also keeps memory flat, which needs settings that a process reads only when it starts.

import type { ChildProcess } from "node:child_process";
import { InterruptedError, ProviderError } from "../errors.js";
import { type ChildFailure, type EndOfChild, isInterruption, reviveFailure, startChild } from "./child-process.js";
import type { ComputeTaskName, TaskRequest, TaskResult } from "./compute-tasks.js";
import type { WarmUpRequest } from "./warm-up.js";

export type ToChild =
  | { readonly kind: "warm up"; readonly request: WarmUpRequest }
  | { readonly kind: "run"; readonly task: ComputeTaskName; readonly request: object };

export type FromChild =
  | { readonly kind: "progress"; readonly progress: unknown }
  | { readonly kind: "done"; readonly result: unknown }
  | ChildFailure;

/** Settings of glibc's allocator; other C libraries do not read them. */
const ALLOCATOR_SETTINGS = {
  // By default glibc raises this limit with every weight that is freed, allocates later weights in its heap, and keeps
  // the heap: memory would grow with the number of segments.
  MALLOC_MMAP_THRESHOLD_: String(4 * 2 ** 20),
  // Huge pages for large blocks, where the kernel provides them on request: weights are read with fewer TLB misses.
  GLIBC_TUNABLES: "glibc.malloc.hugetlb=1",
};

/** A process that computes one task after the other, until it is stopped. */
export interface ComputeProcess {
  /** Starts to prepare its device. Does not wait; an error here occurs again in the task. */
  warmUp(request: WarmUpRequest): void;
  /**
   * Runs the task's function in the process, with the same errors; one at a time. @throws also ProviderError when the
   * process is killed
   */
  run<Name extends ComputeTaskName>(task: Name, request: TaskRequest<Name>): Promise<TaskResult<Name>>;
  /** Ends the process, whatever it does. */
  stop(): void;
}

export interface ComputeProcessOptions {
  /** The only CUDA device that the process sees, as CUDA_VISIBLE_DEVICES names it. */
  readonly visibleDevice?: string | undefined;
  /** Number of threads; by default as many as it may use. */
  readonly threads?: number | undefined;
}

/**
 * Starts the process. It begins to load ONNX Runtime at once, so starting it early saves time.
 * @throws ProviderError when the system refuses another process
 */
export function startComputeProcess({ visibleDevice, threads }: ComputeProcessOptions = {}): ComputeProcess {
  const { channel, ended, stop } = startChild({
    module: new URL("./compute-child.js", import.meta.url),
    args: threads === undefined ? [] : [String(threads)],
    execArgv: ["--expose-gc"],
    env: {
      ...ALLOCATOR_SETTINGS,
      // Numbers devices as nvidia-smi does; CUDA's own order begins with the fastest.
      CUDA_DEVICE_ORDER: "PCI_BUS_ID",
      ...process.env,
      ...(visibleDevice !== undefined && { CUDA_VISIBLE_DEVICES: visibleDevice }),
    },
  });
  let running: ComputeTaskName | undefined;
  const failed = ended.then((end): never => {
    throw describeEnd(end, running);
  });
  failed.catch(() => {}); // it may end before anyone asks it to measure
  return {
    stop,
    warmUp(request) {
      channel.send({ kind: "warm up", request } satisfies ToChild, () => {});
    },
    async run(task, { signal, onProgress, ...request }) {
      if (signal?.aborted) throw new InterruptedError();
      running = task;
      signal?.addEventListener("abort", stop);
      try {
        const answered = answer(channel, onProgress as ((progress: unknown) => void) | undefined);
        channel.send({ kind: "run", task, request } satisfies ToChild, () => {});
        return (await Promise.race([answered, failed])) as TaskResult<typeof task>;
      } catch (error) {
        throw signal?.aborted ? new InterruptedError() : error;
      } finally {
        signal?.removeEventListener("abort", stop);
      }
    },
  };
}

function answer(channel: ChildProcess, onProgress: ((progress: unknown) => void) | undefined): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const listen = (message: FromChild) => {
      if (message.kind === "progress") return onProgress?.(message.progress);
      channel.off("message", listen);
      if (message.kind === "done") resolve(message.result);
      else reject(reviveFailure(message));
    };
    channel.on("message", listen);
  });
}

const FEWER_PROMPTS = "give fewer or shorter prompts (--samples, --sequence-length)";

/** Options that reduce memory. */
const LESS_MEMORY: Readonly<Record<ComputeTaskName, string>> = {
  measure: FEWER_PROMPTS,
  evaluate: FEWER_PROMPTS,
  try: FEWER_PROMPTS,
  generate: "leave out --generate, which keeps the whole model in memory",
};

function describeEnd(end: EndOfChild, running: ComputeTaskName | undefined): Error {
  if (isInterruption(end)) return new InterruptedError();
  const { code, killedBy, lastWords } = end;
  const how = killedBy === null ? `ended with code ${code}` : `was killed by ${killedBy}`;
  const advice =
    killedBy === "SIGKILL"
      ? `The system was probably out of memory: ${LESS_MEMORY[running ?? "measure"]}.`
      : "This points to a fault in ONNX Runtime or a driver, or to damaged memory: please report it.";
  const words = lastWords === "" ? "" : ` Its last words: ${lastWords}`;
  return new ProviderError(`The computing process ${how}. ${advice}${words}`);
}
