// What a command is given of the process: its streams, the signal of Ctrl-C, and whom to ask.

import type { TextOutput } from "../report/text-output.js";

export interface CommandContext {
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  readonly signal: AbortSignal;
  /** Asks the person at the terminal, yes or no. Undefined where nobody can answer. */
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}
