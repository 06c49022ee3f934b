// The most likely token of a slice: of equal ones the lowest, counted from the slice's first.

import { expect, test } from "vitest";
import { tensorSource } from "../../src/architectures/weight-source.js";
import { buildGreedyHead, GREEDY_HEAD_VALUES } from "../../src/graphs/greedy-head.js";
import { runGraph, storeWeights, tensor } from "./run-graph.js";

/** Logits of a hidden state (1, 1), which the norm keeps: the sums of these rows. */
const ROWS = [
  [0, 0],
  [1, 2],
  [3, -1],
  [2, 1],
  [-1, -2],
  [1, 2],
];
const END = {
  norm: { kind: "rms", weight: tensorSource("norm", [2]), size: 2, epsilon: 0 },
  head: tensorSource("head", [ROWS.length, 2]),
} as const;

async function topOf(start: number, end: number) {
  const weights = { norm: tensor([2], [1, 1]), head: tensor([ROWS.length, 2], ROWS.flat()) };
  const { folder, locate } = await storeWeights(weights);
  const hidden = tensor([1, 1, 2], [1, 1]);
  const outputs = await runGraph(buildGreedyHead(END, 2, { start, end }, locate), folder, {
    [GREEDY_HEAD_VALUES.hidden]: hidden,
  });
  return [outputs[GREEDY_HEAD_VALUES.top]?.[0], outputs[GREEDY_HEAD_VALUES.max]?.[0]];
}

test.each([
  ["the lowest of three with the same logit", 0, 6, 1, 3],
  ["counted from the slice's first", 2, 6, 1, 3],
  ["the only one of a slice of one", 4, 5, 0, -3],
])("%s", async (_rule, start, end, top, max) => {
  expect(await topOf(start, end)).toEqual([top, max]);
});
