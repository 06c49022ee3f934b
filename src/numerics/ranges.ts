// The ranges of K and V during calibration, per layer, KV head and prompt. Pure bookkeeping; the graph computes the
// maxima.

export interface SideRange {
  /** Largest |x| of the layer. */
  readonly absmax: number;
  /** Largest |x| per KV head. */
  readonly perHead: readonly number[]; // [kv_heads]
  /** Largest |x| per prompt, in the order the prompts were given. */
  readonly perPrompt: readonly number[]; // [prompts]
}

export interface LayerRange {
  /** Number of the decoder layer, from 0. */
  readonly layer: number;
  /** K as it enters the cache: after norm and rotation. */
  readonly k: SideRange;
  /** V as it enters the cache. */
  readonly v: SideRange;
}

/** Collects the maxima of one side (K or V) of one layer. */
export class SideRangeCollector {
  readonly #perHead: Float64Array;
  readonly #perPrompt: Float64Array;

  constructor(kvHeads: number, prompts: number) {
    this.#perHead = new Float64Array(kvHeads);
    this.#perPrompt = new Float64Array(prompts);
  }

  /**
   * Merges the maxima of one batch. NaN stays NaN.
   * @param absmax row-major [batch, kv_heads]
   * @param prompts the prompt of each row of the batch
   */
  add(absmax: Float32Array, prompts: readonly number[]): void {
    const heads = this.#perHead.length;
    for (const [row, prompt] of prompts.entries()) {
      for (let head = 0; head < heads; head++) {
        const value = absmax[row * heads + head] ?? Number.NaN;
        this.#perHead[head] = Math.max(this.#perHead[head] ?? Number.NaN, value);
        this.#perPrompt[prompt] = Math.max(this.#perPrompt[prompt] ?? Number.NaN, value);
      }
    }
  }

  finish(): SideRange {
    return { absmax: Math.max(...this.#perHead), perHead: [...this.#perHead], perPrompt: [...this.#perPrompt] };
  }
}

/**
 * Merges ranges that were measured over different prompts.
 * @param parts not empty; each has all layers and prompts, with 0 for prompts that it did not see
 */
export function mergeRanges(parts: readonly (readonly LayerRange[])[]): LayerRange[] {
  const [first = [], ...others] = parts;
  return others.reduce<LayerRange[]>((merged, part) => joinRanges(merged, part, largestOfEach), [...first]);
}

/** The ranges of some prompts, and of others that follow them. @param later of the same layers, over the others alone */
export function appendRanges(earlier: readonly LayerRange[], later: readonly LayerRange[]): LayerRange[] {
  return joinRanges(earlier, later, (before, after) => [...before, ...after]);
}

type JoinValues = (a: readonly number[], b: readonly number[]) => readonly number[];

/** @param joinPrompts what becomes of the maxima per prompt */
function joinRanges(a: readonly LayerRange[], b: readonly LayerRange[], joinPrompts: JoinValues): LayerRange[] {
  return a.map(({ layer, k, v }, index) => {
    const other = b[index];
    if (other === undefined) throw new RangeError("the parts have different layers");
    return { layer, k: joinSides(k, other.k, joinPrompts), v: joinSides(v, other.v, joinPrompts) };
  });
}

function joinSides(a: SideRange, b: SideRange, joinPrompts: JoinValues): SideRange {
  return {
    absmax: Math.max(a.absmax, b.absmax),
    perHead: largestOfEach(a.perHead, b.perHead),
    perPrompt: joinPrompts(a.perPrompt, b.perPrompt),
  };
}

function largestOfEach(values: readonly number[], others: readonly number[]): number[] {
  return values.map((value, index) => Math.max(value, others[index] ?? Number.NaN));
}

/**
 * The largest |a / b − 1| over the absmax of K and V of all layers; NaN when one is not finite, or a layer is missing.
 * @param reference the divisor b
 */
export function largestRangeDeviation(ranges: readonly LayerRange[], reference: readonly LayerRange[]): number {
  const deviations = reference.flatMap(({ k, v }, index) => [
    deviationOf(ranges[index]?.k.absmax, k.absmax),
    deviationOf(ranges[index]?.v.absmax, v.absmax),
  ]);
  return Math.max(0, ...deviations);
}

function deviationOf(absmax = Number.NaN, reference: number): number {
  return absmax === reference ? 0 : Math.abs(absmax / reference - 1);
}

/**
 * How much the absmax still rose in the last quarter of the tokens: total absmax / absmax of the first three quarters −
 * 1; 0 when that is not defined. A large value means that more prompts would raise it further.
 * @param perPrompt absmax per prompt, in calibration order
 * @param tokens token count per prompt, in the same order
 */
export function riseInLastQuarter(perPrompt: readonly number[], tokens: readonly number[]): number {
  const total = tokens.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  let early = 0;
  let all = 0;
  for (const [index, absmax] of perPrompt.entries()) {
    seen += tokens[index] ?? 0;
    if (seen <= total * 0.75) early = Math.max(early, absmax);
    all = Math.max(all, absmax);
  }
  return early === 0 ? 0 : all / early - 1;
}
