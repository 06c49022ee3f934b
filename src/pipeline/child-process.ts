// Starts the program's own processes, brings their errors over as what they were, and leaves none behind. Knows no work.

import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import * as errors from "../errors.js";
import { InterruptedError, KvScalesError, messageOf, ProviderError } from "../errors.js";
import { INTERRUPT_SIGNALS } from "../interrupts.js";

export interface ChildOptions {
  /** The module that it runs. Its first argument is the id of this process. */
  readonly module: URL;
  readonly args?: readonly string[];
  readonly execArgv?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

export interface RunningChild {
  readonly channel: ChildProcess;
  /** Never rejects. */
  readonly ended: Promise<EndOfChild>;
  /** Ends the process, whatever it does. */
  stop(): void;
}

export interface EndOfChild {
  readonly code: number | null;
  readonly killedBy: NodeJS.Signals | null;
  /** What it wrote last on stderr. */
  readonly lastWords: string;
}

/** How a child says that it failed: as an expected error, or as a bug. */
export type ChildFailure =
  | { readonly kind: "error"; readonly name: string; readonly message: string }
  | { readonly kind: "bug"; readonly description: string };

/** A process that it started in turn could keep its stderr open for ever. */
const LAST_WORDS_MS = 1000;

const living = new Set<ChildProcess>();

/** @throws ProviderError when the system refuses another process */
export function startChild({ module, args = [], execArgv = [], env = process.env, cwd }: ChildOptions): RunningChild {
  const start = fileURLToPath(new URL("./start-child.js", import.meta.url));
  const channel = forkOrThrow(start, [module.href, String(process.pid), ...args], {
    serialization: "advanced",
    execArgv: [...execArgv],
    env: { ...env },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    ...(cwd !== undefined && { cwd }),
  });
  if (living.size === 0) process.on("exit", stopAllChildren);
  living.add(channel);
  const lastWords = keepTail(channel.stderr);
  const ended = new Promise<EndOfChild>((resolve) => {
    const end = (code: number | null, killedBy: NodeJS.Signals | null, words = lastWords()) => {
      living.delete(channel);
      if (living.size === 0) process.off("exit", stopAllChildren);
      resolve({ code, killedBy, lastWords: words });
    };
    channel.on("error", (error) => end(null, null, messageOf(error)));
    channel.on("exit", (code, killedBy) => {
      // What it wrote last, and a large result, can still be on their way when it has gone.
      const limit = setTimeout(end, LAST_WORDS_MS, code, killedBy);
      channel.on("close", () => {
        clearTimeout(limit);
        if (channel.connected) channel.once("disconnect", () => end(code, killedBy));
        else end(code, killedBy);
      });
    });
  });
  return { channel, ended, stop: () => void channel.kill("SIGKILL") };
}

function forkOrThrow(...[module, args, options]: Required<Parameters<typeof fork>>): ChildProcess {
  let child: ChildProcess;
  try {
    child = fork(module, args, options);
  } catch (cause) {
    throw new ProviderError(`A process that computes cannot be started: ${messageOf(cause)}`, { cause });
  }
  if (child.pid !== undefined) return child;
  child.on("error", () => {}); // tells later what is known now
  throw new ProviderError(
    "A process that computes cannot be started: the system allows no more processes (ulimit -u) or files (ulimit -n)",
  );
}

/** However this process ends, short of being killed; their watchdogs see to that. */
function stopAllChildren(): void {
  for (const child of living) child.kill("SIGKILL");
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

/** A signal that asks for the end and reached the child alone, or before this process, means the same there as here. */
export function isInterruption({ killedBy }: EndOfChild): boolean {
  return killedBy !== null && INTERRUPT_SIGNALS.includes(killedBy);
}

/** Much more than any message has; a text that a file made is cut here, before it is sent. */
const MAX_MESSAGE_LENGTH = 4000;

/** In the child. */
export function describeFailure(error: unknown): ChildFailure {
  if (error instanceof KvScalesError) {
    return { kind: "error", name: error.name, message: error.message.slice(0, MAX_MESSAGE_LENGTH) };
  }
  return { kind: "bug", description: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** In the parent: the error as its own class again, so that it keeps its exit code. */
export function reviveFailure(failure: ChildFailure): Error {
  if (failure.kind === "bug") return new Error(failure.description);
  const classes: Readonly<Record<string, unknown>> = { ...errors };
  const ErrorClass = classes[failure.name];
  if (ErrorClass === InterruptedError) return new InterruptedError();
  return typeof ErrorClass === "function"
    ? Reflect.construct(ErrorClass, [failure.message])
    : new Error(failure.message);
}
