// Starts the program's child processes, passes on their errors with their classes, and leaves no process behind. Knows
// no work.

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
  /** The end of its stderr. */
  readonly lastWords: string;
}

/** The message with which a child reports an expected error or a bug. */
export type ChildFailure =
  | { readonly kind: "error"; readonly name: string; readonly message: string }
  | { readonly kind: "bug"; readonly description: string };

/** A process that the child started could keep its stderr open forever. */
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
      // The end of its stderr and a large result can still be in transit when the child has exited.
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
    throw new ProviderError(`The computing process cannot be started: ${messageOf(cause)}`, { cause });
  }
  if (child.pid !== undefined) return child;
  child.on("error", () => {}); // tells later what is known now
  throw new ProviderError(
    "The computing process cannot be started: the system allows no more processes (ulimit -u) or files (ulimit -n)",
  );
}

/** At every end of this process except a kill, for which the children have watchdogs. */
function stopAllChildren(): void {
  for (const child of living) child.kill("SIGKILL");
}

const TAIL_LENGTH = 500;

/**
 * The end of the native libraries' output. It is shown only if the process crashes, because drivers write much that
 * nobody needs.
 */
function keepTail(stream: NodeJS.ReadableStream | null): () => string {
  let tail = "";
  stream?.on("data", (chunk: Buffer) => {
    tail = (tail + chunk.toString()).slice(-TAIL_LENGTH);
  });
  return () => tail.trim();
}

/** A signal that reached only the child, or the child first, is an interrupt of the whole program. */
export function isInterruption({ killedBy }: EndOfChild): boolean {
  return killedBy !== null && INTERRUPT_SIGNALS.includes(killedBy);
}

/** Far longer than our messages; a text that comes from a file is cut here, before it is sent. */
const MAX_MESSAGE_LENGTH = 4000;

/** In the child. */
export function describeFailure(error: unknown): ChildFailure {
  if (error instanceof KvScalesError) {
    return { kind: "error", name: error.name, message: error.message.slice(0, MAX_MESSAGE_LENGTH) };
  }
  return { kind: "bug", description: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** In the parent: restores the error's class, and so its exit code. */
export function reviveFailure(failure: ChildFailure): Error {
  if (failure.kind === "bug") return new Error(failure.description);
  const classes: Readonly<Record<string, unknown>> = { ...errors };
  const ErrorClass = classes[failure.name];
  if (ErrorClass === InterruptedError) return new InterruptedError();
  return typeof ErrorClass === "function"
    ? Reflect.construct(ErrorClass, [failure.message])
    : new Error(failure.message);
}
