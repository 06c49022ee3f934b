// Asks the person at the terminal. Knows no particular question.

import { createInterface } from "node:readline/promises";
import { InterruptedError } from "../errors.js";

/**
 * Asks a question; true if the answer is yes. An empty line and the end of the input mean no. @throws InterruptedError
 */
export async function askYesNo(
  question: string,
  { stdin, stderr }: Pick<NodeJS.Process, "stdin" | "stderr">,
  signal: AbortSignal,
): Promise<boolean> {
  const lines = createInterface({ input: stdin, output: stderr });
  // In a terminal, the reader gets Ctrl-C.
  const interrupted = new AbortController();
  lines.on("SIGINT", () => interrupted.abort());
  try {
    const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
    const signals = AbortSignal.any([signal, interrupted.signal]);
    const answer = await Promise.race([lines.question(question, { signal: signals }), ended]);
    return /^\s*y(es)?\s*$/i.test(answer);
  } catch (error) {
    throw signal.aborted || interrupted.signal.aborted ? new InterruptedError() : error;
  } finally {
    lines.close();
  }
}
