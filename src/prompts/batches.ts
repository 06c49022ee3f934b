// Groups prompts into batches: sorted by length, so that there is little padding, and filled up to a number of tokens.
// Knows token ids, and nothing of graphs.

export interface Batch {
  /** The prompts of the rows, by their place in the calibration order. */
  readonly prompts: readonly number[]; // [rows]
  readonly lengths: readonly number[]; // [rows]
  /** Tokens of the longest row: shorter rows are padded on the right. */
  readonly width: number;
}

export interface BatchLimits {
  /** Rows × width of a batch, padding included; a longer prompt is a batch of its own. */
  readonly maxTokens: number;
  /** Rows of a batch; absent: any number. */
  readonly maxRows?: number;
  /** Prompts whose lengths have different regimes never share a batch. */
  readonly regimeOf: (length: number) => number;
}

/** The cost of starting a batch, in tokens. Less padding than this is cheaper than another batch. */
export const BATCH_COST_TOKENS = 16;

/**
 * Splits the prompts, sorted by length, so that batches and padding together cost least. The longest batches come
 * first: if memory is too small, that shows at once.
 */
export function makeBatches(prompts: readonly (readonly number[])[], limits: BatchLimits): Batch[] {
  const order = prompts.map((_, index) => index).sort((a, b) => lengthOf(prompts, b) - lengthOf(prompts, a) || a - b);
  const sorted = order.map((prompt) => lengthOf(prompts, prompt));
  const batches: Batch[] = [];
  for (const { start, end } of cheapestRuns(sorted, limits)) {
    const lengths = sorted.slice(start, end);
    batches.push({ prompts: order.slice(start, end), lengths, width: lengths[0] ?? 0 });
  }
  return batches;
}

/** One of several equal parts. */
export interface BatchShare {
  readonly index: number;
  readonly count: number;
}

/**
 * The batches of one share. Batches are never split, so that results do not depend on the number of shares; each goes
 * in turn to the share with the fewest tokens so far.
 */
export function dealBatches(batches: readonly Batch[], { index, count }: BatchShare): Batch[] {
  const loads = Array.from({ length: count }, () => 0);
  return batches.filter(({ prompts, width }) => {
    const least = loads.indexOf(Math.min(...loads));
    loads[least] = (loads[least] ?? 0) + prompts.length * width + BATCH_COST_TOKENS;
    return least === index;
  });
}

interface Run {
  readonly start: number;
  readonly end: number;
}

/** The cheapest way to cut sorted lengths into runs that fit: a shortest path over the cuts. */
function cheapestRuns(lengths: readonly number[], { maxTokens, maxRows, regimeOf }: BatchLimits): Run[] {
  const rows = maxRows ?? lengths.length;
  const costs = new Float64Array(lengths.length + 1).fill(Number.POSITIVE_INFINITY).fill(0, 0, 1);
  const starts = new Uint32Array(lengths.length + 1); // where the last run of the best cut up to here starts
  for (const [start, width] of lengths.entries()) {
    const regime = regimeOf(width);
    for (let end = start + 1; end <= Math.min(start + rows, lengths.length); end++) {
      const alone = end === start + 1;
      if (!alone && ((end - start) * width > maxTokens || regimeOf(lengths[end - 1] ?? 0) !== regime)) break;
      const cost = (costs[start] ?? 0) + (end - start) * width + BATCH_COST_TOKENS;
      if (cost >= (costs[end] ?? 0)) continue;
      costs[end] = cost;
      starts[end] = start;
    }
  }
  const runs: Run[] = [];
  for (let end = lengths.length; end > 0; end = starts[end] ?? 0) runs.unshift({ start: starts[end] ?? 0, end });
  return runs;
}

function lengthOf(prompts: readonly (readonly number[])[], index: number): number {
  return prompts[index]?.length ?? 0;
}

/** Token ids of a batch, padded with 0. Row-major [rows, width]. */
export function batchTokenIds({ prompts, width }: Batch, tokenIds: readonly (readonly number[])[]): BigInt64Array {
  const ids = new BigInt64Array(prompts.length * width);
  for (const [row, prompt] of prompts.entries()) {
    for (const [position, id] of (tokenIds[prompt] ?? []).entries()) ids[row * width + position] = BigInt(id);
  }
  return ids;
}

/** 1 for a token, 0 for padding. Row-major [rows, width]. */
export function batchMask({ lengths, width }: Batch): Float32Array {
  const mask = new Float32Array(lengths.length * width);
  for (const [row, length] of lengths.entries()) mask.fill(1, row * width, row * width + length);
  return mask;
}
