// How many tokens each expert of a mixture has computed. Pure bookkeeping; the counts come from the graph.

export interface ExpertTokens {
  /** Number of the decoder layer, from 0. */
  readonly layer: number;
  /** By expert; a token counts for each expert that it is sent to. */
  readonly tokens: readonly number[]; // [experts]
}

/** Adds up the counts of batches, layer by layer. */
export class ExpertTokensCollector {
  readonly #layers = new Map<number, number[]>();

  /** @param first the expert that the first count is of */
  add(layer: number, tokens: Float32Array | readonly number[], first = 0): void {
    const sums = this.#layers.get(layer) ?? [];
    while (sums.length < first + tokens.length) sums.push(0);
    for (const [place, count] of tokens.entries()) sums[first + place] = (sums[first + place] ?? 0) + count;
    this.#layers.set(layer, sums);
  }

  /** By layer, ascending. */
  finish(): ExpertTokens[] {
    const layers = [...this.#layers].sort(([a], [b]) => a - b);
    return layers.map(([layer, tokens]) => ({ layer, tokens: [...tokens] }));
  }
}

/** The counts of several parts of the prompts, added up. A layer that a part has not seen counts nothing there. */
export function mergeExpertTokens(parts: readonly (readonly ExpertTokens[])[]): ExpertTokens[] {
  const collector = new ExpertTokensCollector();
  for (const { layer, tokens } of parts.flat()) collector.add(layer, tokens);
  return collector.finish();
}

/** How many experts of a layer have computed no token. */
export function unreachedExperts({ tokens }: ExpertTokens): number {
  return tokens.filter((count) => count === 0).length;
}
