// Handles Ctrl-C, SIGTERM and SIGHUP: the first asks the work to stop and clean up, the second ends the process at
// once. Imports nothing, so that it can listen before the rest of the program is loaded. Knows no work.

import { InterruptedError } from "./errors.js";

/** Ctrl-C, `kill`, and the end of the terminal. */
export const INTERRUPT_SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

export const EXIT_INTERRUPTED = 130;

export interface Interrupts {
  readonly signal: AbortSignal;
  /** Restores the earlier handling of the signals. */
  release(): void;
}

/** Starts to listen. */
export function listenForInterrupts(): Interrupts {
  const interrupt = new AbortController();
  const onInterrupt = () => {
    if (interrupt.signal.aborted) endAtOnce();
    interrupt.abort();
  };
  for (const name of INTERRUPT_SIGNALS) process.on(name, onInterrupt);
  return {
    signal: interrupt.signal,
    release() {
      for (const name of INTERRUPT_SIGNALS) process.off(name, onInterrupt);
    },
  };
}

function endAtOnce(): never {
  try {
    process.stderr.write("Error: Interrupted twice: an unfinished result may be left; the next run removes it.\n");
  } finally {
    process.exit(EXIT_INTERRUPTED);
  }
}

/**
 * The result of the work, or InterruptedError as soon as the signal is raised. For work that leaves nothing behind.
 * @throws InterruptedError, and what the work throws
 */
export async function untilInterrupted<Result>(
  signal: AbortSignal | undefined,
  work: Promise<Result>,
): Promise<Result> {
  if (signal === undefined) return await work;
  let onAbort = () => {};
  const interrupted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new InterruptedError());
  });
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([interrupted, work]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
