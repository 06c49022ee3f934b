// What a command gets from the process: its streams, the signal of Ctrl-C, and a way to ask.

import type { TextOutput } from "../report/text-output.js";

export interface CommandContext {
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  readonly signal: AbortSignal;
  /** Asks the person at the terminal, yes or no. Undefined without a terminal. */
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}
