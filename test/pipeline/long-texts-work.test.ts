// The work of long texts, against counting every pair of tokens.

import { expect, test } from "vitest";
import type { Branch } from "../../src/architectures/description.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { workOfLongTexts } from "../../src/pipeline/long-texts-work.js";
import { EMBEDDED_EXAMPLE } from "../../src/pipeline/run-options.js";

const checkpoint = await openCheckpoint(EMBEDDED_EXAMPLE);
/** Six layers of four heads of 32; 128 hidden, 2,304 tokens in the vocabulary. */
const example = describeModel(checkpoint.config, checkpoint.tensors);

/** A query by a key and a share by a value, of four heads in six layers. */
const OF_A_PAIR = 6 * 4 * (32 + 32);

function pairsOf(tokens: number, window: number): number {
  let pairs = 0;
  for (let token = 0; token < tokens; token++) {
    for (let read = 0; read <= token; read++) if (token - read < window) pairs++;
  }
  return pairs;
}

test("is products by weights, pairs of tokens, and the head at the positions that are looked at, in all passes", () => {
  const texts = { windows: [Array(50).fill(1), Array(7).fill(1)], positions: [[3, 4], [5]], passes: 3 };
  const pairs = pairsOf(50, 50) + pairsOf(7, 7);
  expect(workOfLongTexts(example, texts, 1000)).toBe(3 * (57 * 1000 + pairs * OF_A_PAIR + 3 * 128 * 2304));
});

test("of layers with a window, only pairs inside it count", () => {
  const windowed = (branch: Branch): Branch =>
    branch.block.kind === "attention" ? { ...branch, block: { ...branch.block, slidingWindow: 8 } } : branch;
  const layers = example.layers.map((layer) => ({
    ...layer,
    residuals: layer.residuals.map((residual) => {
      const [first, ...others] = residual.branches;
      return { ...residual, branches: [windowed(first), ...others.map(windowed)] as const };
    }),
  }));
  const texts = { windows: [Array(50).fill(1)], positions: [[]], passes: 1 };
  expect(workOfLongTexts({ ...example, layers }, texts, 0)).toBe(pairsOf(50, 8) * OF_A_PAIR);
});
