// Chance that depends on a seed alone, so that every case of a campaign can be made again. Knows nothing of cases.

/** Numbers by Mulberry32 (Tommy Ettinger, public domain). */
export class Random {
  #state: number;

  /** @param parts the same parts give the same numbers */
  constructor(...parts: readonly number[]) {
    this.#state = parts.reduce(
      (state, part) => Math.imul(state ^ (part >>> 0), 0x9e3779b1) ^ (state >>> 15),
      0x243f6a88,
    );
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<Item>(items: readonly [Item, ...Item[]]): Item;
  pick<Item>(items: readonly Item[]): Item | undefined;
  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.below(items.length)];
  }
}
