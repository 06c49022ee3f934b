// Selects the prompts of a run and their order: a seeded shuffle, so that every part of the run is a fair sample.

/** Largest number of prompts, their order, and the length limit of each. */
export interface SelectionOptions {
  readonly samples: number;
  readonly seed: number;
}

/** The first `samples` items of a shuffle that depends on the seed alone (Fisher–Yates). */
export function selectSamples<Item>(items: readonly Item[], { samples, seed }: SelectionOptions): Item[] {
  const random = mulberry32(seed);
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [shuffled[last] as Item, shuffled[other] as Item];
    shuffled[last] = b;
    shuffled[other] = a;
  }
  return shuffled.slice(0, samples);
}

/** Mulberry32 (Tommy Ettinger, public domain): 32 bits of state, numbers in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
