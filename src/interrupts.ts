// What Ctrl-C and its like do: the first asks the work to stop and clean up, the second does not wait for it. Loads
// nothing, so that it can listen before the rest of the program is read. Knows no work.

import { InterruptedError } from "./errors.js";

/** Ctrl-C, what `kill` sends, and the end of the terminal. */
export const INTERRUPT_SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

export const EXIT_INTERRUPTED = 130;

export interface Interrupts {
  readonly signal: AbortSignal;
  /** Leaves the signals to whoever had them before. */
  release(): void;
}

/** Listens from now on. */
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
    process.stderr.write("Error: Interrupted twice: an unfinished result may be left, which the next run clears up.\n");
  } finally {
    process.exit(EXIT_INTERRUPTED);
  }
}

/**
 * The work's outcome, unless the signal is raised first: then what it still does counts no more. For work that leaves
 * nothing behind.
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
