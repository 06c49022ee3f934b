// A question to the person at the terminal. Knows no question.

import { createInterface } from "node:readline/promises";
import { InterruptedError } from "../errors.js";

/** Asks, and answers whether the answer was yes: an empty line and the end of the input are no. @throws InterruptedError */
export async function askYesNo(
  question: string,
  { stdin, stderr }: Pick<NodeJS.Process, "stdin" | "stderr">,
  signal: AbortSignal,
): Promise<boolean> {
  const lines = createInterface({ input: stdin, output: stderr });
  // In a terminal, Ctrl-C comes to whoever reads from it.
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
