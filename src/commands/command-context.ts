// What a command is given of the process: its streams and the signal of Ctrl-C.

import type { TextOutput } from "../report/text-output.js";

export interface CommandContext {
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  readonly signal: AbortSignal;
}
