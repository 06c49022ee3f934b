// The prompts of a run are a fair sample in an order that the seed alone decides.

import fc from "fast-check";
import { expect, test } from "vitest";
import { selectSamples } from "../../src/prompts/select-prompts.js";

const ITEMS = Array.from({ length: 40 }, (_, index) => index);
const SEEDS = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const LISTS = fc.array(fc.integer(), { maxLength: 60 });

test("all samples are a permutation of the prompts", () => {
  fc.assert(
    fc.property(LISTS, SEEDS, (items, seed) => {
      const chosen = selectSamples(items, { samples: items.length, seed });
      expect(chosen.toSorted()).toEqual(items.toSorted());
    }),
  );
});

test("fewer samples are the beginning of more", () => {
  fc.assert(
    fc.property(LISTS, SEEDS, fc.nat(80), (items, seed, samples) => {
      const all = selectSamples(items, { samples: items.length, seed });
      expect(selectSamples(items, { samples, seed })).toEqual(all.slice(0, samples));
    }),
  );
});

test("the same seed gives the same order, another seed another", () => {
  const order = (seed: number) => selectSamples(ITEMS, { samples: 40, seed });
  expect(order(7)).toEqual(order(7));
  expect(new Set(Array.from({ length: 20 }, (_, seed) => order(seed).join())).size).toBe(20);
});

test("the prompts that were given stay in their order", () => {
  const items = [...ITEMS];
  selectSamples(items, { samples: 3, seed: 1 });
  expect(items).toEqual(ITEMS);
});

test("every prompt is as likely to be first as any other", () => {
  const counts = new Map<number | undefined, number>();
  for (let seed = 0; seed < 4000; seed++) {
    const [first] = selectSamples(ITEMS, { samples: 1, seed });
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  // 100 expected, standard deviation 10.
  expect(counts.size).toBe(40);
  for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThan(50);
});

// Changing the generator or the shuffle changes the result of every earlier command line.
test("seed 0 chooses what it always did", () => {
  expect(selectSamples(ITEMS, { samples: 8, seed: 0 })).toMatchInlineSnapshot(`
    [
      3,
      33,
      27,
      37,
      17,
      9,
      38,
      39,
    ]
  `);
});
