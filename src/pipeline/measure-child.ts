// The process that measures: takes one request, sends progress, then the ranges or the error, and ends. Ends at once,
// too, when its parent is gone: it writes nothing, so nothing is lost.

import { KvScalesError } from "../errors.js";
import { preloadRuntime } from "../runtime/session.js";
import type { FromChild, ToChild } from "./measure-in-child.js";
import { measureRanges } from "./measure-ranges.js";

const MAX_UNCOLLECTED_BYTES = 8 * 2 ** 20;
let uncollected = 0;

process.on("disconnect", () => process.exit());
// Ctrl-C reaches every process of the terminal; the parent decides what becomes of this one.
process.on("SIGINT", () => {});

process.once("message", async (request: ToChild) => {
  try {
    const ranges = await measureRanges({
      ...request,
      onProgress(progress) {
        collectOutputs();
        send({ kind: "progress", progress });
      },
    });
    send({ kind: "done", ranges });
  } catch (error) {
    send(describeError(error));
  }
  process.disconnect();
});

/** Outputs are copies that only garbage collection frees, and nothing else would make it run in time. */
function collectOutputs(): void {
  if (process.memoryUsage().arrayBuffers < uncollected + MAX_UNCOLLECTED_BYTES) return;
  globalThis.gc?.({ type: "minor" });
  uncollected = process.memoryUsage().arrayBuffers;
}

function describeError(error: unknown): FromChild {
  if (error instanceof KvScalesError) return { kind: "error", name: error.name, message: error.message };
  return { kind: "bug", description: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

function send(message: FromChild): void {
  process.send?.(message);
}

preloadRuntime();
