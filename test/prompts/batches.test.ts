// Batches hold every prompt once, pad little, and never mix what must not be mixed.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BATCH_COST_TOKENS, batchMask, batchTokenIds, dealBatches, makeBatches } from "../../src/prompts/batches.js";

const PROMPTS = fc.array(fc.array(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 30 }), { maxLength: 25 });
const LIMIT = fc.integer({ min: 1, max: 120 });
/** As with dynamic RoPE: lengths up to `trained` are one regime, each longer one is its own. */
const regimeBeyond = (trained: number) => (length: number) => Math.max(length, trained);
const REGIME = fc.integer({ min: 1, max: 30 }).map(regimeBeyond);

function forAllBatches(rule: (batches: ReturnType<typeof makeBatches>, given: Given) => void): void {
  fc.assert(
    fc.property(PROMPTS, LIMIT, REGIME, (prompts, maxTokens, regimeOf) => {
      rule(makeBatches(prompts, { maxTokens, regimeOf }), { prompts, maxTokens, regimeOf });
    }),
  );
}

function waysToCut(lengths: readonly number[]): number[][][] {
  return Array.from({ length: 2 ** Math.max(0, lengths.length - 1) }, (_, cuts) => {
    const runs: number[][] = [];
    for (const [index, length] of lengths.entries()) {
      if (index === 0 || (cuts >> (index - 1)) & 1) runs.push([]);
      runs.at(-1)?.push(length);
    }
    return runs;
  });
}

function mayShare(lengths: readonly number[], maxTokens: number, regimeOf: (length: number) => number): boolean {
  const fits = lengths.length * Math.max(...lengths) <= maxTokens;
  return lengths.length === 1 || (fits && new Set(lengths.map(regimeOf)).size === 1);
}

function costOf(batches: readonly (readonly number[])[]): number {
  return batches.reduce((sum, lengths) => sum + lengths.length * Math.max(...lengths) + BATCH_COST_TOKENS, 0);
}

interface Given {
  readonly prompts: number[][];
  readonly maxTokens: number;
  readonly regimeOf: (length: number) => number;
}

describe("for any prompts", () => {
  test("every prompt is in exactly one batch, with its length", () => {
    forAllBatches((batches, { prompts }) => {
      expect(batches.flatMap((batch) => batch.prompts).toSorted((a, b) => a - b)).toEqual([...prompts.keys()]);
      for (const { prompts: rows, lengths } of batches)
        expect(lengths).toEqual(rows.map((row) => prompts[row]?.length));
    });
  });

  test("no batch has more rows than are allowed, and every prompt is in one", () => {
    fc.assert(
      fc.property(PROMPTS, LIMIT, fc.integer({ min: 1, max: 6 }), (prompts, maxTokens, maxRows) => {
        const batches = makeBatches(prompts, { maxTokens, maxRows, regimeOf: () => 0 });
        expect(batches.flatMap((batch) => batch.prompts).toSorted((a, b) => a - b)).toEqual([...prompts.keys()]);
        for (const { lengths } of batches) expect(lengths.length).toBeLessThanOrEqual(maxRows);
      }),
    );
  });

  test("rows × width stay within the limit, unless a batch is a single prompt", () => {
    forAllBatches((batches, { maxTokens }) => {
      for (const { lengths, width } of batches) {
        expect(lengths.length === 1 || lengths.length * width <= maxTokens).toBe(true);
        expect(width).toBe(Math.max(...lengths));
      }
    });
  });

  test("regimes are never mixed", () => {
    forAllBatches((batches, { regimeOf }) => {
      for (const { lengths } of batches) expect(new Set(lengths.map(regimeOf)).size).toBe(1);
    });
  });

  test("the longest come first", () => {
    forAllBatches((batches) => {
      const lengths = batches.flatMap((batch) => batch.lengths);
      expect(lengths).toEqual(lengths.toSorted((a, b) => b - a));
    });
  });

  test("no other way to cut the sorted prompts costs less", () => {
    const few = fc.array(fc.array(fc.constant(1), { minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(few, LIMIT, REGIME, (prompts, maxTokens, regimeOf) => {
        const found = makeBatches(prompts, { maxTokens, regimeOf }).map((batch) => batch.lengths);
        const sorted = found.flat();
        const costs = waysToCut(sorted)
          .filter((ways) => ways.every((lengths) => mayShare(lengths, maxTokens, regimeOf)))
          .map(costOf);
        expect(costOf(found)).toBe(Math.min(...costs));
      }),
    );
  });

  test("ids and mask hold each prompt's tokens, then padding", () => {
    forAllBatches((batches, { prompts }) => {
      for (const batch of batches) {
        const ids = batchTokenIds(batch, prompts);
        const mask = batchMask(batch);
        const rows = batch.prompts.map((prompt) => prompts[prompt] ?? []);
        const padded = rows.map((row) => [...row, ...Array<number>(batch.width - row.length).fill(0)]);
        expect([...ids].map(Number)).toEqual(padded.flat());
        expect([...mask]).toEqual(padded.flat().map((id) => (id === 0 ? 0 : 1)));
      }
    });
  });
});

describe("dealt to several devices", () => {
  function forAllDeals(rule: (shares: Batches[], batches: Batches) => void): void {
    fc.assert(
      fc.property(PROMPTS, LIMIT, REGIME, fc.integer({ min: 1, max: 9 }), (prompts, maxTokens, regimeOf, count) => {
        const batches = makeBatches(prompts, { maxTokens, regimeOf });
        const shares = Array.from({ length: count }, (_, index) => dealBatches(batches, { index, count }));
        rule(shares, batches);
      }),
    );
  }
  type Batches = ReturnType<typeof makeBatches>;
  const loadOf = (batches: Batches) => costOf(batches.map(({ lengths }) => lengths));

  test("every batch is in exactly one share, as it was, whatever the count", () => {
    forAllDeals((shares, batches) => {
      expect(new Set(shares.flat())).toEqual(new Set(batches));
      expect(shares.flat()).toHaveLength(batches.length);
      for (const batch of shares.flat()) expect(batches).toContain(batch);
    });
  });

  test("a share keeps the order, the longest first", () => {
    forAllDeals((shares, batches) => {
      for (const share of shares) expect(share).toEqual(batches.filter((batch) => share.includes(batch)));
    });
  });

  test("shares are even: none has more than another by more than its last batch", () => {
    forAllDeals((shares) => {
      const least = Math.min(...shares.map(loadOf));
      for (const share of shares) expect(loadOf(share.slice(0, -1))).toBeLessThanOrEqual(least);
    });
  });

  test("of one share there is all", () => {
    const batches = makeBatches([[1], [1, 2], [1, 2, 3]], { maxTokens: 1, regimeOf: () => 0 });
    expect(dealBatches(batches, { index: 0, count: 1 })).toEqual(batches);
  });
});

test.each<[string, number, number[], number[][]]>([
  [
    "prompts of like length share a batch",
    12,
    [1, 6, 6, 1],
    [
      [6, 6],
      [1, 1],
    ],
  ],
  ["a prompt longer than the limit is alone", 4, [9, 2, 2], [[9], [2, 2]]],
  ["padding counts", 50, [40, 1, 1], [[40], [1, 1]]],
  ["no prompts make no batches", 10, [], []],
])("%s", (_rule, maxTokens, lengths, expected) => {
  const prompts = lengths.map((length) => Array<number>(length).fill(1));
  expect(makeBatches(prompts, { maxTokens, regimeOf: () => 0 }).map((batch) => batch.lengths)).toEqual(expected);
});
