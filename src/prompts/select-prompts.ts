// Selects the prompts of a run and their order: a seeded shuffle, so that every part of the run is a fair sample.

import { seededRandom, shuffle } from "./seeded-random.js";

/** Largest number of prompts, their order, and the length limit of each. */
export interface SelectionOptions {
  readonly samples: number;
  readonly seed: number;
}

/** The first `samples` items of a shuffle that depends on the seed alone. */
export function selectSamples<Item>(items: readonly Item[], { samples, seed }: SelectionOptions): Item[] {
  return shuffle(items, seededRandom(seed)).slice(0, samples);
}
