// Computes in a process of its own. ONNX Runtime computes on the thread that calls it, so here the terminal stays alive
// and Ctrl-C works at once; and memory can be kept flat, which takes settings that a process only gets when it starts.

import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import * as errors from "../errors.js";
import { InterruptedError, messageOf, ProviderError } from "../errors.js";
import type { ComputeTaskName, TaskRequest, TaskResult } from "./compute-tasks.js";
import type { WarmUpRequest } from "./warm-up.js";

export type ToChild =
  | { readonly kind: "warm up"; readonly request: WarmUpRequest }
  | { readonly kind: "run"; readonly task: ComputeTaskName; readonly request: object };

export type FromChild =
  | { readonly kind: "progress"; readonly progress: unknown }
  | { readonly kind: "done"; readonly result: unknown }
  | { readonly kind: "error"; readonly name: string; readonly message: string }
  | { readonly kind: "bug"; readonly description: string };

/** Settings of glibc's allocator; other C libraries do not read them. */
const ALLOCATOR_SETTINGS = {
  // Unless told, it raises this limit with every weight that is freed, takes later weights from its heap, and keeps the
  // heap: memory would grow with the number of segments.
  MALLOC_MMAP_THRESHOLD_: String(4 * 2 ** 20),
  // Huge pages for large blocks, where the kernel gives them on request: weights are read with fewer page look-ups.
  GLIBC_TUNABLES: "glibc.malloc.hugetlb=1",
};

/** A process that is ready for one task. */
export interface ComputeProcess {
  /** Makes its device ready for what comes. Waits for nothing; what fails will fail again when it matters. */
  warmUp(request: WarmUpRequest): void;
  /** As the task's function, with the same errors. @throws also ProviderError when the process is killed */
  run<Name extends ComputeTaskName>(task: Name, request: TaskRequest<Name>): Promise<TaskResult<Name>>;
  /** Ends the process, whatever it does. */
  stop(): void;
}

export interface ComputeProcessOptions {
  /** The only device of CUDA that the process sees, as CUDA_VISIBLE_DEVICES names it. */
  readonly visibleDevice?: string | undefined;
  /** Threads that it computes with; by default, as many as it may. */
  readonly threads?: number | undefined;
}

/** Starts the process. It loads ONNX Runtime by itself, so starting it early saves the time that takes. */
export function startComputeProcess({ visibleDevice, threads }: ComputeProcessOptions = {}): ComputeProcess {
  const settings = threads === undefined ? [] : [String(threads)];
  const child = fork(fileURLToPath(new URL("./start-compute-child.js", import.meta.url)), settings, {
    serialization: "advanced",
    execArgv: ["--expose-gc"],
    env: {
      ...ALLOCATOR_SETTINGS,
      // As nvidia-smi numbers devices; CUDA itself would begin with the fastest.
      CUDA_DEVICE_ORDER: "PCI_BUS_ID",
      ...process.env,
      ...(visibleDevice !== undefined && { CUDA_VISIBLE_DEVICES: visibleDevice }),
    },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const lastWords = keepTail(child.stderr);
  let running: ComputeTaskName | undefined;
  const ended = new Promise<never>((_, reject) => {
    child.on("error", (cause) => {
      reject(new ProviderError(`The computing process could not be started: ${messageOf(cause)}`, { cause }));
    });
    child.on("exit", (code, killedBy) => {
      const end = () => reject(describeEnd(code, killedBy, { running, lastWords: lastWords() }));
      // A large result can still be on its way when the process has gone.
      if (child.connected) child.once("disconnect", end);
      else end();
    });
  });
  ended.catch(() => {}); // it may end before anyone asks it to measure
  const send = (message: ToChild) => {
    if (child.connected) child.send(message, () => {});
  };
  const stop = () => {
    child.kill("SIGKILL");
  };
  return {
    stop,
    warmUp(request) {
      send({ kind: "warm up", request });
    },
    async run(task, { signal, onProgress, ...request }) {
      if (signal?.aborted) throw new InterruptedError();
      running = task;
      signal?.addEventListener("abort", stop);
      try {
        const answered = answer(child, onProgress as ((progress: unknown) => void) | undefined);
        send({ kind: "run", task, request });
        return (await Promise.race([answered, ended])) as TaskResult<typeof task>;
      } catch (error) {
        throw signal?.aborted ? new InterruptedError() : error;
      } finally {
        signal?.removeEventListener("abort", stop);
      }
    },
  };
}

function answer(child: ChildProcess, onProgress: ((progress: unknown) => void) | undefined): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.on("message", (message: FromChild) => {
      switch (message.kind) {
        case "progress":
          return onProgress?.(message.progress);
        case "done":
          return resolve(message.result);
        case "error":
          return reject(revive(message));
        case "bug":
          return reject(new Error(message.description));
      }
    });
  });
}

/** The error as its own class again, so that it keeps its exit code. */
function revive({ name, message }: Extract<FromChild, { kind: "error" }>): Error {
  const classes: Readonly<Record<string, unknown>> = { ...errors };
  const ErrorClass = classes[name];
  return typeof ErrorClass === "function" ? Reflect.construct(ErrorClass, [message]) : new Error(message);
}

const TAIL_LENGTH = 500;

/** What native libraries wrote last: drivers chatter, which belongs on nobody's screen unless the process dies of it. */
function keepTail(stream: NodeJS.ReadableStream | null): () => string {
  let tail = "";
  stream?.on("data", (chunk: Buffer) => {
    tail = (tail + chunk.toString()).slice(-TAIL_LENGTH);
  });
  return () => tail.trim();
}

const FEWER_PROMPTS = "give fewer or shorter prompts (--samples, --sequence-length)";

/** What needs less memory. */
const LESS_MEMORY: Readonly<Record<ComputeTaskName, string>> = {
  measure: FEWER_PROMPTS,
  evaluate: FEWER_PROMPTS,
  generate: "leave out --generate, which keeps the whole model in memory",
};

interface EndOfProcess {
  readonly running: ComputeTaskName | undefined;
  readonly lastWords: string;
}

function describeEnd(
  code: number | null,
  killedBy: NodeJS.Signals | null,
  { running, lastWords }: EndOfProcess,
): ProviderError {
  const how = killedBy === null ? `ended with code ${code}` : `was killed by ${killedBy}`;
  const advice =
    killedBy === "SIGKILL"
      ? `The system was probably out of memory: ${LESS_MEMORY[running ?? "measure"]}.`
      : "This points to a fault in ONNX Runtime or a driver, or to damaged memory: please report it.";
  const words = lastWords === "" ? "" : ` Its last words: ${lastWords}`;
  return new ProviderError(`The computing process ${how}. ${advice}${words}`);
}
