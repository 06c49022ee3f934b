import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  appendRanges,
  type LayerRange,
  largestRangeDeviation,
  mergeRanges,
  riseInLastQuarter,
  SideRangeCollector,
} from "../../src/numerics/ranges.js";

describe("the collector", () => {
  test("keeps the largest value per head, per prompt and of all, over batches in any order", () => {
    const collector = new SideRangeCollector(2, 3);
    collector.add(Float32Array.of(1, 5, 3, 2), [2, 0]);
    collector.add(Float32Array.of(4, 0.5), [1]);
    expect(collector.finish()).toEqual({ absmax: 5, perHead: [4, 5], perPrompt: [3, 4, 5] });
  });

  test("a prompt in two batches keeps the larger value", () => {
    const collector = new SideRangeCollector(1, 1);
    collector.add(Float32Array.of(2), [0]);
    collector.add(Float32Array.of(7), [0]);
    collector.add(Float32Array.of(3), [0]);
    expect(collector.finish()).toEqual({ absmax: 7, perHead: [7], perPrompt: [7] });
  });

  test("nothing seen is 0 everywhere", () => {
    expect(new SideRangeCollector(2, 1).finish()).toEqual({ absmax: 0, perHead: [0, 0], perPrompt: [0] });
  });

  test("a NaN stays a NaN in its head, its prompt and the layer, and goes nowhere else", () => {
    const collector = new SideRangeCollector(2, 2);
    collector.add(Float32Array.of(1, Number.NaN, 3, 4), [0, 1]);
    collector.add(Float32Array.of(9, 9), [0]);
    expect(collector.finish()).toEqual({ absmax: Number.NaN, perHead: [9, Number.NaN], perPrompt: [Number.NaN, 4] });
  });

  test("Infinity stays Infinity", () => {
    const collector = new SideRangeCollector(1, 2);
    collector.add(Float32Array.of(Infinity, 1), [0, 1]);
    expect(collector.finish()).toEqual({ absmax: Infinity, perHead: [Infinity], perPrompt: [Infinity, 1] });
  });

  test("too few maxima are a NaN, not a zero", () => {
    const collector = new SideRangeCollector(2, 1);
    collector.add(Float32Array.of(1), [0]);
    expect(collector.finish().absmax).toBeNaN();
  });

  test("how prompts fall into batches changes nothing", () => {
    const rows = fc.array(fc.tuple(fc.float({ min: 0, noNaN: true }), fc.float({ min: 0, noNaN: true })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 4 }), (maxima, batch) => {
        const collector = new SideRangeCollector(2, maxima.length);
        const order = maxima.map((_, prompt) => prompt).reverse();
        for (let start = 0; start < order.length; start += batch) {
          const prompts = order.slice(start, start + batch);
          collector.add(Float32Array.from(prompts.flatMap((prompt) => maxima[prompt] ?? [])), prompts);
        }
        const all = maxima.flat();
        const side = collector.finish();
        expect(side.absmax).toBe([...all].sort((a, b) => a - b).at(-1));
        expect(side.perPrompt).toEqual(maxima.map((pair) => [...pair].sort((a, b) => a - b).at(-1)));
        expect(all).toEqual(expect.arrayContaining([...side.perHead]));
      }),
    );
  });
});

describe("ranges of several devices, merged", () => {
  const HEADS = 2;
  const maximum = fc.float({ min: 0, noNaN: true, noDefaultInfinity: true });
  /** Per prompt the maxima of each head, and which device measures it. */
  const dealt = fc.array(fc.record({ heads: fc.tuple(maximum, maximum), device: fc.integer({ min: 0, max: 3 }) }), {
    minLength: 1,
    maxLength: 12,
  });

  function measure(
    prompts: readonly (readonly [prompt: number, heads: readonly number[]])[],
    all: number,
  ): LayerRange[] {
    return [1, 0.5].map((factor, layer) => {
      const [k, v] = [1, 3].map((side) => {
        const collector = new SideRangeCollector(HEADS, all);
        for (const [prompt, heads] of prompts)
          collector.add(
            Float32Array.from(heads, (x) => x * factor * side),
            [prompt],
          );
        return collector.finish();
      });
      if (k === undefined || v === undefined) throw new Error("two sides");
      return { layer, k, v };
    });
  }

  test("are what one device that has all prompts measures", () => {
    fc.assert(
      fc.property(dealt, (prompts) => {
        const numbered = prompts.map(({ heads, device }, prompt) => ({ device, entry: [prompt, heads] as const }));
        const parts = [0, 1, 2, 3].map((own) =>
          measure(
            numbered.filter(({ device }) => device === own).map(({ entry }) => entry),
            prompts.length,
          ),
        );
        const alone = measure(
          numbered.map(({ entry }) => entry),
          prompts.length,
        );
        expect(mergeRanges(parts)).toEqual(alone);
      }),
    );
  });

  test("are themselves when there is one part", () => {
    const ranges = measure([[0, [1, 2]]], 1);
    expect(mergeRanges([ranges])).toEqual(ranges);
  });

  test("keep a NaN", () => {
    const merged = mergeRanges([measure([[0, [Number.NaN, 1]]], 2), measure([[1, [2, 2]]], 2)]);
    expect(merged[0]?.k).toEqual({ absmax: Number.NaN, perHead: [Number.NaN, 2], perPrompt: [Number.NaN, 2] });
  });

  test("of different layers cannot be merged", () => {
    const ranges = measure([[0, [1, 2]]], 1);
    expect(() => mergeRanges([ranges, ranges.slice(0, 1)])).toThrow(RangeError);
  });
});

describe("the largest deviation of ranges from others", () => {
  const layers = (...absmaxes: [k: number, v: number][]): LayerRange[] => {
    const side = (absmax: number) => ({ absmax, perHead: [absmax], perPrompt: [absmax] });
    return absmaxes.map(([k, v], layer) => ({ layer, k: side(k), v: side(v) }));
  };
  test.each<[what: string, ranges: LayerRange[], reference: LayerRange[], expected: number]>([
    ["is 0 when all are equal", layers([1, 2], [3, 4]), layers([1, 2], [3, 4]), 0],
    ["is relative to the reference", layers([1, 2], [3, 5]), layers([1, 2], [3, 4]), 0.25],
    ["counts what is smaller, too", layers([1, 1]), layers([1, 2]), 0.5],
    ["is 0 where both are silent", layers([0, 1]), layers([0, 1]), 0],
    ["is infinite where the reference alone is silent", layers([1, 1]), layers([0, 1]), Infinity],
    ["is NaN where one is", layers([1, Number.NaN], [1, 9]), layers([1, 1], [1, 1]), Number.NaN],
    ["is NaN where a layer is missing", layers([1, 1]), layers([1, 1], [1, 1]), Number.NaN],
  ])("%s", (_what, ranges, reference, expected) => {
    expect(largestRangeDeviation(ranges, reference)).toBe(expected);
  });
});

describe("the rise in the last quarter of the tokens", () => {
  test.each<[what: string, perPrompt: number[], tokens: number[], expected: number]>([
    ["is 0 when the largest came early", [8, 2, 2, 2], [10, 10, 10, 10], 0],
    ["is 0 when the last quarter equals what came before", [1, 2, 3, 3], [10, 10, 10, 10], 0],
    ["is by how much the last quarter exceeds what came before", [1, 2, 4, 5], [10, 10, 10, 10], 0.25],
    ["counts tokens, not prompts: a long prompt, then short ones", [1, 2, 3, 3], [70, 10, 10, 10], 2],
    ["counts tokens, not prompts: many short prompts, then a long one", [1, 1, 2, 4], [5, 5, 10, 20], 1],
    ["takes a prompt that ends at three quarters for early", [1, 4, 4], [5, 10, 5], 0],
    ["takes a prompt that reaches into the last quarter for late", [1, 4, 4], [5, 11, 4], 3],
    ["is 0 for a single prompt: there is nothing to compare", [5], [10], 0],
    ["is 0 when all is silent", [0, 0, 0, 0], [1, 1, 1, 1], 0],
    ["is 0 without prompts", [], [], 0],
  ])("%s", (_what, perPrompt, tokens, expected) => {
    expect(riseInLastQuarter(perPrompt, tokens)).toBe(expected);
  });

  test("a NaN stays a NaN", () => {
    expect(riseInLastQuarter([1, Number.NaN, 1, 1], [1, 1, 1, 1])).toBeNaN();
    expect(riseInLastQuarter([1, 1, 1, Number.NaN], [1, 1, 1, 1])).toBeNaN();
  });
});

describe("ranges of prompts, and of others that follow them", () => {
  const one = (perPrompt: readonly number[], perHead: readonly number[]) => ({
    absmax: Math.max(...perHead),
    perHead,
    perPrompt,
  });

  test("have every prompt in its order, and the larger maxima", () => {
    const earlier = [{ layer: 3, k: one([1, 5], [5, 2]), v: one([7, 2], [1, 7]) }];
    const later = [{ layer: 3, k: one([4], [3, 4]), v: one([9], [9, 2]) }];
    expect(appendRanges(earlier, later)).toEqual([{ layer: 3, k: one([1, 5, 4], [5, 4]), v: one([7, 2, 9], [9, 7]) }]);
  });

  test("of other layers cannot be joined", () => {
    const layer = { layer: 0, k: one([1], [1]), v: one([1], [1]) };
    expect(() => appendRanges([layer, layer], [layer])).toThrow(RangeError);
  });
});
