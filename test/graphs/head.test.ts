// The end of a model in slices, run and joined, held against float64 arithmetic over the whole vocabulary.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ModelEnd } from "../../src/architectures/description.js";
import { tensorSource } from "../../src/architectures/weight-source.js";
import { buildHead, HEAD_VALUES, TOKEN_BLOCK, type VocabularySlice } from "../../src/graphs/head.js";
import type { ArmPositions } from "../../src/metrics/arm-metrics.js";
import { joinSlices, type SliceSums } from "../../src/metrics/vocabulary-slices.js";
import { linearReference, rmsNormReference, type Vector } from "./reference.js";
import { randomTensor, rowsOf, runGraph, storeWeights, type Tensor, tensor } from "./run-graph.js";

const HIDDEN = 12;
/** Three of the blocks that a slice is searched in. */
const VOCABULARY = 3 * TOKEN_BLOCK;
const ARMS = 3;
const ROWS = 7;
const EPSILON = 1e-5;
const END: ModelEnd = {
  norm: { kind: "rms", weight: tensorSource("norm", [HIDDEN]), size: HIDDEN, epsilon: EPSILON },
  head: tensorSource("head", [VOCABULARY, HIDDEN]),
};
const WEIGHTS = {
  norm: randomTensor([HIDDEN], 1, 2),
  head: randomTensor([VOCABULARY, HIDDEN], 2, 3),
};
/** The second arm is near the first, the third elsewhere. */
const STATES = nearAndFar();
const TARGETS = [0, 191, 16, 17, 128, 5, 64];

function nearAndFar(): Tensor {
  const base = randomTensor([1, ROWS, HIDDEN], 3).data;
  const other = randomTensor([1, ROWS, HIDDEN], 4).data;
  return tensor([ARMS, ROWS, HIDDEN], [...base, ...base.map((x, index) => x + 0.01 * (other[index] ?? 0)), ...other]);
}

interface Joined {
  readonly nll: readonly number[];
  readonly kl: readonly number[];
  readonly top: readonly number[];
}

/** All of an arm in float64: log-softmax over the whole vocabulary. @param states [arms, rows, hidden] */
function reference(states: Tensor): Joined[] {
  const rows = rowsOf(states);
  const logProbabilities = rows.map((row) => {
    const normed = rmsNormReference(row, [...WEIGHTS.norm.data], EPSILON);
    const logits = linearReference(normed, rowsOf(WEIGHTS.head));
    const max = Math.max(...logits);
    const logSum = max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
    return logits.map((logit) => logit - logSum);
  });
  const at = (row: number): Vector => logProbabilities[row] ?? [];
  return Array.from({ length: states.shape[0] ?? 0 }, (_, arm) => {
    const places = TARGETS.map((_, row) => arm * ROWS + row);
    return {
      nll: places.map((place, row) => -(at(place)[TARGETS[row] ?? 0] ?? Number.NaN)),
      kl: places.map((place, row) =>
        at(row).reduce((sum, p, token) => sum + Math.exp(p) * (p - (at(place)[token] ?? Number.NaN)), 0),
      ),
      top: places.map((place) => at(place).indexOf(Math.max(...at(place)))),
    };
  });
}

function slicesBetween(cuts: readonly number[]): VocabularySlice[] {
  const starts = [0, ...cuts];
  return starts.map((start, index) => ({ start, end: starts[index + 1] ?? VOCABULARY }));
}

/** Runs every slice and joins them, as a verification does. */
async function runHead(states: Tensor, slices: readonly VocabularySlice[]): Promise<ArmPositions[]> {
  const { folder, locate } = await storeWeights(WEIGHTS);
  const [arms = 0] = states.shape;
  const sums: SliceSums[][] = Array.from({ length: arms }, () => []);
  for (const slice of slices) {
    const isInside = TARGETS.map((target) => target >= slice.start && target < slice.end);
    const inSlice = TARGETS.map((target, row) => BigInt(isInside[row] ? target - slice.start : 0));
    const outputs = await runGraph(buildHead(END, HIDDEN, slice, locate), folder, {
      [HEAD_VALUES.hidden]: states,
      [HEAD_VALUES.targets]: {
        type: "int64",
        shape: [arms, ROWS, 1],
        data: BigInt64Array.from({ length: arms * ROWS }, (_, index) => inSlice[index % ROWS] ?? 0n),
      },
    });
    for (const [arm, ofArm] of sums.entries()) {
      const valuesOf = (name: string) => outputs[name]?.slice(arm * ROWS, (arm + 1) * ROWS) ?? new Float32Array();
      ofArm.push({
        start: slice.start,
        max: valuesOf(HEAD_VALUES.max),
        sumExp: valuesOf(HEAD_VALUES.sumExp),
        top: valuesOf(HEAD_VALUES.top),
        target: valuesOf(HEAD_VALUES.target),
        hasTarget: Uint8Array.from(isInside, Number),
        cross: valuesOf(HEAD_VALUES.cross),
      });
    }
  }
  return joinSlices(sums);
}

/** Logits are about 10 and float32, so their last bit is 10⁻⁶; some are 20 roundings away from the reference. */
const TOLERANCE = 2e-5;

function expectNear(found: ArrayLike<number> | undefined, expected: readonly number[], what: string): void {
  expect(found).toHaveLength(expected.length);
  for (const [row, value] of expected.entries()) {
    expect(Math.abs((found?.[row] ?? Number.NaN) - value), `${what}, position ${row}`).toBeLessThan(TOLERANCE);
  }
}

function expectAsReferenced(found: readonly ArmPositions[], states: Tensor): void {
  for (const [arm, { nll, kl, top }] of reference(states).entries()) {
    expectNear(found[arm]?.negativeLogLikelihood, nll, `nll of arm ${arm}`);
    expectNear(found[arm]?.divergence, kl, `KL of arm ${arm}`);
    expect([...(found[arm]?.topToken ?? [])]).toEqual(top);
  }
}

describe("log-likelihood, divergence and top token are those of the whole vocabulary", () => {
  test.each([
    ["in one piece", []],
    ["in two pieces, one of whole blocks", [64]],
    ["in two pieces of parts of blocks", [100]],
    ["in pieces that divide it unevenly", [1, 17, 18, 40]],
    ["with a slice of one token at the end", [191]],
  ])("%s", async (_rule, cuts) => {
    expectAsReferenced(await runHead(STATES, slicesBetween(cuts)), STATES);
  });

  test("however it is cut", async () => {
    const tokens = Array.from({ length: VOCABULARY - 1 }, (_, index) => index + 1);
    await fc.assert(
      fc.asyncProperty(fc.subarray(tokens, { maxLength: 8 }), async (cuts) => {
        expectAsReferenced(await runHead(STATES, slicesBetween(cuts)), STATES);
      }),
      { numRuns: 15 },
    );
  });
});

describe("the divergence", () => {
  test("of the baseline is 0, not nearly", async () => {
    const [baseline] = await runHead(STATES, slicesBetween([10, 30]));
    expect(baseline?.divergence).toEqual(new Float64Array(ROWS));
  });

  test("of an arm that equals the baseline is 0, but for the last bits of the matrix product and its sums", async () => {
    const one = STATES.data.subarray(0, ROWS * HIDDEN);
    const [baseline, arm] = await runHead(tensor([2, ROWS, HIDDEN], [...one, ...one]), slicesBetween([10, 30]));
    expectNear(arm?.negativeLogLikelihood, [...(baseline?.negativeLogLikelihood ?? [])], "nll");
    // The sums it is made of are float32.
    for (const divergence of arm?.divergence ?? [Number.NaN]) expect(Math.abs(divergence)).toBeLessThan(2 ** -22);
  });

  test("of an arm near the baseline is small and of one elsewhere large, as in the reference", () => {
    const [, near, far] = reference(STATES);
    expect(Math.max(...(near?.kl ?? []))).toBeLessThan(0.02);
    expect(Math.min(...(far?.kl ?? []))).toBeGreaterThan(0.5);
  });
});

test("of two tokens with one logit the first is the top token, in one slice and in two", async () => {
  const states = tensor([1, ROWS, HIDDEN], new Float32Array(ROWS * HIDDEN));
  for (const cuts of [[], [25], [64]]) {
    const [arm] = await runHead(states, slicesBetween(cuts));
    expect(arm?.topToken).toEqual(new Int32Array(ROWS));
    expectNear(arm?.negativeLogLikelihood, Array(ROWS).fill(Math.log(VOCABULARY)), "nll of equal logits");
  }
});
