// A verification's forward pass in several processes, one per device or group of cores. Distributes batches of windows,
// puts positions back in order and adds up sums. Does not know what they mean.

import type { Side } from "../graphs/kv-cache.js";
import type { ArmPositions } from "../metrics/arm-metrics.js";
import type { FidelitySums } from "../metrics/cache-fidelity.js";
import type { EvaluatedArm, EvaluateProgress, EvaluateRequest, Evaluation } from "./evaluate-arms.js";
import { evaluatedIn } from "./evaluate-head.js";
import { shareWork, type Worker } from "./share-work.js";
import { joinArithmetic } from "./wider-arithmetic.js";

/** Evaluates with all workers at once. @throws as evaluateArms; the first error stops all */
export async function evaluateInProcesses(
  workers: readonly Worker[],
  { onProgress, ...request }: Omit<EvaluateRequest, "plan" | "share">,
): Promise<Evaluation> {
  const { windows, arms } = request;
  const tokens = windows.reduce((sum, window) => sum + window.length, 0);
  const progress = new Map<number, EvaluateProgress>();
  const report = (index: number) => (part: EvaluateProgress) => {
    progress.set(index, part);
    const done = [...progress.values()].reduce((sum, share) => sum + share.done * share.tokens, 0);
    onProgress?.({ done: Math.min(1, done / tokens), tokens });
  };
  const parts = await shareWork(workers, "evaluate", (part, index) => ({
    ...{ ...request, ...part },
    onProgress: report(index),
  }));
  const joined = arms.map((_, arm): EvaluatedArm => {
    const shares = parts.map((part) => ({ windows: part.windows, ...armOf(part, arm) }));
    return { positions: joinPositions(request, shares), layers: addSums(shares.map(({ layers }) => layers)) };
  });
  return { arms: joined, windows: windows.map((_, window) => window), ...joinArithmetic(parts) };
}

function armOf({ arms }: Evaluation, arm: number): EvaluatedArm {
  const found = arms[arm];
  if (found === undefined) throw new RangeError(`arm ${arm} was not evaluated`);
  return found;
}

interface Share {
  readonly windows: readonly number[];
  readonly positions: ArmPositions;
}

/** Puts the evaluated positions of all windows in the order of the windows. */
function joinPositions(
  request: Pick<EvaluateRequest, "windows" | "positions">,
  shares: readonly Share[],
): ArmPositions {
  const starts = request.windows.map(() => 0);
  let end = 0;
  for (const window of starts.keys()) {
    starts[window] = end;
    end += evaluatedIn(request, window);
  }
  const joined: ArmPositions = {
    negativeLogLikelihood: new Float64Array(end),
    divergence: new Float64Array(end),
    topToken: new Int32Array(end),
  };
  for (const { windows: evaluated, positions } of shares) {
    let first = 0;
    for (const window of evaluated) {
      const last = first + evaluatedIn(request, window);
      for (const name of ["negativeLogLikelihood", "divergence", "topToken"] as const) {
        joined[name].set(positions[name].subarray(first, last), starts[window]);
      }
      first = last;
    }
  }
  return joined;
}

type LayerSums = Readonly<Record<Side, FidelitySums>>;

/** @param shares [shares][layers] */
function addSums(shares: readonly (readonly LayerSums[])[]): LayerSums[] {
  const [first = []] = shares;
  const add = (layer: number, side: Side) => {
    const sums = shares.flatMap((layers) => layers[layer]?.[side] ?? []);
    const sum = (of: (sums: FidelitySums) => number) => sums.reduce((total, each) => total + of(each), 0);
    return {
      elements: sum(({ elements }) => elements),
      signal: sum(({ signal }) => signal),
      noise: sum(({ noise }) => noise),
      saturated: sum(({ saturated }) => saturated),
      flushed: sum(({ flushed }) => flushed),
      absmax: Math.max(...sums.map(({ absmax }) => absmax)),
    };
  };
  return first.map((_, layer) => ({ k: add(layer, "k"), v: add(layer, "v") }));
}
