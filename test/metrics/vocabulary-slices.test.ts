// Joining slices is exact: whatever the cuts, the sums of the slices hold all that the whole vocabulary holds.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { joinSlices, type SliceSums } from "../../src/metrics/vocabulary-slices.js";

type Logits = readonly (readonly number[])[]; // [positions][tokens]

/** What the graph of a slice gives, of logits that lie here. Numbers of float32 stay float64 until they are stored. */
function sumSlice(logits: Logits, baseline: Logits, targets: readonly number[], start: number, end: number): SliceSums {
  const positions = logits.map((row) => row.slice(start, end));
  const maxima = (rows: Logits) => rows.map((row) => Math.max(...row.slice(start, end)));
  const baselineMaxima = maxima(baseline);
  const at = (values: readonly number[] | undefined, index: number) => values?.[index] ?? Number.NaN;
  return {
    start,
    max: Float32Array.from(maxima(logits)),
    sumExp: Float32Array.from(positions, (row) => {
      const max = Math.max(...row);
      return row.reduce((sum, logit) => sum + Math.exp(logit - max), 0);
    }),
    top: Float32Array.from(positions, (row) => row.indexOf(Math.max(...row))),
    target: Float32Array.from(positions, (row, position) => row[at(targets, position) - start] ?? -12345),
    hasTarget: Uint8Array.from(targets, (target) => (target >= start && target < end ? 1 : 0)),
    cross: Float32Array.from(positions, (row, position) =>
      row.reduce((sum, logit, token) => {
        const ofBaseline = at(baseline[position], start + token);
        return sum + Math.exp(ofBaseline - at(baselineMaxima, position)) * (ofBaseline - logit);
      }, 0),
    ),
  };
}

function join(arms: readonly Logits[], targets: readonly number[], cuts: readonly number[]) {
  const [baseline = []] = arms;
  const vocabulary = baseline[0]?.length ?? 0;
  const starts = [0, ...cuts];
  return joinSlices(
    arms.map((logits) =>
      starts.map((start, index) => sumSlice(logits, baseline, targets, start, starts[index + 1] ?? vocabulary)),
    ),
  );
}

function logSoftmax(row: readonly number[]): number[] {
  const max = Math.max(...row);
  const logSum = max + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
  return row.map((logit) => logit - logSum);
}

/** Logits that float32 holds, so that storing them loses nothing. */
const VOCABULARY = 24;
const logit = fc.integer({ min: -40 * 64, max: 40 * 64 }).map((value) => value / 64);
const positionOf = (arms: number) =>
  fc.record({
    logits: fc.array(fc.array(logit, { minLength: VOCABULARY, maxLength: VOCABULARY }), {
      minLength: arms,
      maxLength: arms,
    }),
    target: fc.nat(VOCABULARY - 1),
  });
const cutting = fc.subarray(Array.from({ length: VOCABULARY - 1 }, (_, index) => index + 1));
/** Two arms at five positions, and where the vocabulary is cut. */
const cases = fc.record({
  positions: fc.array(positionOf(2), { minLength: 5, maxLength: 5 }),
  cuts: cutting,
});

describe("any cutting into slices gives what the whole vocabulary gives", () => {
  test("log-likelihood, divergence and top token", () => {
    fc.assert(
      fc.property(cases, ({ positions, cuts }) => {
        const arms = [0, 1].map((arm) => positions.map(({ logits }) => logits[arm] ?? []));
        const targets = positions.map(({ target }) => target);
        for (const [arm, found] of join(arms, targets, cuts).entries()) {
          for (const [position, row] of (arms[arm] ?? []).entries()) {
            const [p, q] = [arms[0]?.[position] ?? [], row].map(logSoftmax);
            const kl = (p ?? []).reduce((sum, x, token) => sum + Math.exp(x) * (x - (q?.[token] ?? Number.NaN)), 0);
            // The sums are stored in float32: 2⁻²⁴ of a logarithm, and of differences of up to 80 that KL is made of.
            expect(found.negativeLogLikelihood[position]).toBeCloseTo(-(q?.[targets[position] ?? 0] ?? Number.NaN), 5);
            expect(Math.abs((found.divergence[position] ?? Number.NaN) - kl)).toBeLessThan(3e-5);
            expect(found.topToken[position]).toBe(row.indexOf(Math.max(...row)));
          }
        }
      }),
    );
  });

  test("the baseline's divergence is 0", () => {
    fc.assert(
      fc.property(cases, ({ positions, cuts }) => {
        const arms = [0, 1].map((arm) => positions.map(({ logits }) => logits[arm] ?? []));
        const [baseline] = join(
          arms,
          positions.map(({ target }) => target),
          cuts,
        );
        expect(baseline?.divergence).toEqual(new Float64Array(positions.length));
      }),
    );
  });

  test("and so is that of an arm with the same logits, in every bit", () => {
    fc.assert(
      fc.property(cases, ({ positions, cuts }) => {
        const logits = positions.map((position) => position.logits[0] ?? []);
        const targets = positions.map(({ target }) => target);
        const [baseline, arm] = join([logits, logits], targets, cuts);
        expect(arm).toEqual(baseline);
      }),
    );
  });
});

test("logits far apart neither overflow nor vanish", () => {
  const [first, second] = [
    [900, -900],
    [-900, 900],
  ];
  const [, arm] = join([[first ?? []], [second ?? []]], [0], [1]);
  expect(arm?.negativeLogLikelihood[0]).toBe(1800);
  expect(arm?.divergence[0]).toBe(1800);
  expect(arm?.topToken[0]).toBe(1);
});

test("of equal logits in two slices the first slice has the top token", () => {
  expect(join([[[1, 5, 5, 2]]], [0], [2])[0]?.topToken[0]).toBe(1);
});

test("a NaN in any slice is a NaN of its position", () => {
  const [arm] = join([[[1, Number.NaN, 3, 4]]], [3], [2]);
  expect(arm?.negativeLogLikelihood[0]).toBeNaN();
});
