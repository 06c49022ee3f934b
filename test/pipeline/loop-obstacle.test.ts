// What keeps a text from being generated in a loop is known beforehand, and said in words that go on a sentence.

import { expect, test } from "vitest";
import type { Decoder } from "../../src/architectures/description.js";
import { describeModel } from "../../src/architectures/registry.js";
import type { RopeScaling } from "../../src/architectures/rope.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { CodedRounding } from "../../src/graphs/decode-step.js";
import { type LoopFacts, loopObstacle } from "../../src/pipeline/loop-obstacle.js";
import { EMBEDDED_EXAMPLE } from "../../src/pipeline/run-options.js";
import { PROVIDERS } from "../../src/runtime/providers.js";
import { withAttention } from "../helpers/descriptions.js";

const { config, tensors } = await openCheckpoint(EMBEDDED_EXAMPLE);
const example = describeModel(config, tensors);

function withHeadDim(headDim: number): Decoder {
  return withAttention(example, { headDim });
}

function withRope(scaling: RopeScaling): Decoder {
  return { ...example, ropes: example.ropes.map((rope) => ({ ...rope, scaling })) };
}

const bits16: CodedRounding = { elementType: "bfloat16", largest: 3e38 };
const fp8: CodedRounding = { elementType: "float8_e4m3fn", largest: 448 };
const facts: LoopFacts = {
  decoder: example,
  caches: [fp8, bits16],
  arithmetic: PROVIDERS.cuda.arithmetic.BF16,
  prompts: [[1, 2, 3], Array(40).fill(4)],
  maxNewTokens: 24,
};

test.each<[rule: string, changes: Partial<LoopFacts>]>([
  ["a usual model", {}],
  ["heads of 8", { decoder: withHeadDim(8) }],
  ["a linear rotation", { decoder: withRope({ type: "linear", factor: 2 }) }],
  ["a dynamic rotation within its positions", { decoder: withRope({ type: "dynamic", factor: 2, maxPositions: 64 }) }],
])("nothing is in the way of %s", (_rule, changes) => {
  expect(loopObstacle({ ...facts, ...changes })).toBeUndefined();
});

test.each<[rule: string, changes: Partial<LoopFacts>, says: RegExp]>([
  [
    "another FP8 format",
    { caches: [{ elementType: "float8_e4m3fnuz", largest: 240 }, bits16] },
    /^it does not store float8_e4m3fnuz$/,
  ],
  ["another 16-bit format than is computed in", { caches: [fp8, { ...bits16, elementType: "float16" }] }, /float16$/],
  ["heads that the operator would fill up", { decoder: withHeadDim(36) }, /a multiple of 8, and this model's have 36$/],
  [
    "a dynamic rotation one token beyond its positions",
    { decoder: withRope({ type: "dynamic", factor: 2, maxPositions: 63 }) },
    /rotation.*how many tokens/,
  ],
])("%s is in the way", (_rule, changes, says) => {
  expect(loopObstacle({ ...facts, ...changes })).toMatch(says);
});
