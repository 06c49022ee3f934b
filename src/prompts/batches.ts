// Groups prompts into batches: sorted by length so that little is padding, and filled up to a number of tokens.
// Knows nothing of graphs; what is in a batch is token ids.

export interface Batch {
  /** Which prompts the rows are, by their place in the calibration order. */
  readonly prompts: readonly number[]; // [rows]
  readonly lengths: readonly number[]; // [rows]
  /** Tokens of the longest row: shorter rows are padded on the right. */
  readonly width: number;
}

export interface BatchLimits {
  /** Rows × width of a batch, padding included; a longer prompt is a batch of its own. */
  readonly maxTokens: number;
  /** Prompts whose lengths have different regimes never share a batch. */
  readonly regimeOf: (length: number) => number;
}

/** Longest batches first: what needs most memory fails, if it must, at once. */
export function makeBatches(prompts: readonly (readonly number[])[], { maxTokens, regimeOf }: BatchLimits): Batch[] {
  const order = prompts.map((_, index) => index).sort((a, b) => lengthOf(prompts, b) - lengthOf(prompts, a) || a - b);
  const groups: number[][] = [];
  for (const prompt of order) {
    const group = groups.at(-1);
    const width = lengthOf(prompts, group?.[0] ?? prompt);
    const fits = group !== undefined && (group.length + 1) * width <= maxTokens;
    if (fits && regimeOf(width) === regimeOf(lengthOf(prompts, prompt))) group.push(prompt);
    else groups.push([prompt]);
  }
  return groups.map((group) => {
    const lengths = group.map((prompt) => lengthOf(prompts, prompt));
    return { prompts: group, lengths, width: Math.max(...lengths) };
  });
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
