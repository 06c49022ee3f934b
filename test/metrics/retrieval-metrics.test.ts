// What an arm retrieves, on numbers that can be followed by hand.

import { describe, expect, test } from "vitest";
import {
  isTelling,
  judgedRetrieval,
  type RetrievedValues,
  retrievalMetrics,
  retrievedValues,
} from "../../src/metrics/retrieval-metrics.js";

function armOf(found: readonly boolean[], nats: readonly number[] = found.map(() => 1)): RetrievedValues {
  return { found, nats: Float64Array.from(nats) };
}

const many = (count: number, found: number) => Array.from({ length: count }, (_, value) => value < found);

describe("a value", () => {
  const positions = {
    negativeLogLikelihood: Float64Array.of(0.5, 0.25, 2, 1, 4),
    topToken: Int32Array.of(7, 8, 9, 5, 6),
  };

  test("is found when every token of it is the most likely one, and has the nats of all of them", () => {
    const { found, nats } = retrievedValues(positions, [7, 8, 9, 5, 1], [2, 1, 2]);
    expect(found).toEqual([true, true, false]);
    expect([...nats]).toEqual([0.75, 2, 5]);
  });
});

describe("the metrics of an arm", () => {
  const baseline = armOf(
    many(100, 80),
    many(100, 80).map(() => 2),
  );

  test("are shares of all values, and of those that the baseline finds", () => {
    const arm = armOf(
      many(100, 60),
      many(100, 60).map((_, value) => (value % 2 === 0 ? 2.5 : 3.5)),
    );
    const { found, foundShare, kept, nats, extraNats } = retrievalMetrics(arm, baseline);
    expect({ found, nats, share: foundShare.value, kept: kept.value }).toEqual({
      found: 60,
      nats: 3,
      share: 0.6,
      kept: 0.75,
    });
    expect(extraNats.value).toBeCloseTo(1, 12);
    // 1.984 standard errors of a hundred values that lie 0.5 on either side.
    expect(extraNats.high - extraNats.low).toBeCloseTo(2 * 1.984 * (0.5 / Math.sqrt(99)), 3);
    expect(kept.low).toBeGreaterThan(0.64);
    expect(kept.high).toBeLessThan(0.84);
  });

  test("do not count what the baseline has not found", () => {
    const { kept, foundShare } = retrievalMetrics(armOf(many(100, 90)), baseline);
    expect([kept.value, foundShare.value]).toEqual([1, 0.9]);
    expect(kept.low).toBeLessThan(1);
  });

  test("keep nothing of nothing", () => {
    const none = armOf(many(10, 0));
    expect(retrievalMetrics(none, none).kept).toEqual({ value: Number.NaN, low: 0, high: 1 });
  });
});

describe("what is judged", () => {
  const retrievalOf = (found: number) => {
    const baseline = armOf(many(100, found));
    const arms = [
      { name: "16-bit", ...retrievalMetrics(baseline, baseline) },
      { name: "fp8", ...retrievalMetrics(armOf(many(100, found - 5)), baseline) },
    ];
    return { isTelling: isTelling(retrievalMetrics(baseline, baseline)), arms };
  };

  test("is the share of what the baseline finds, of the arms compared with it", () => {
    expect(judgedRetrieval(retrievalOf(50), "fp8")).toMatchObject({ kept: { value: 0.9 }, values: 50 });
    expect(judgedRetrieval(retrievalOf(50), "16-bit")).toBeUndefined();
    expect(judgedRetrieval(retrievalOf(50), "e5m2")).toBeUndefined();
    expect(judgedRetrieval(undefined, "fp8")).toBeUndefined();
  });

  test("is nothing where the baseline finds fewer than a fifth", () => {
    expect(judgedRetrieval(retrievalOf(20), "fp8")).toBeDefined();
    expect(judgedRetrieval(retrievalOf(19), "fp8")).toBeUndefined();
  });
});
