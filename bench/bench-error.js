// The error of a benchmark that cannot run for a reason that its message says: no stack trace is shown for it.

export class BenchError extends Error {}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
