// A mixture of experts, run in ONNX Runtime, against the formulas in float64.

import { describe, expect, test } from "vitest";
import type { Norm } from "../../src/architectures/blocks.js";
import type { Experts, Router, ScoreRouter } from "../../src/architectures/experts.js";
import { tensorSource } from "../../src/architectures/weight-source.js";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import { experts } from "../../src/graphs/experts.js";
import { canBeStacked } from "../../src/graphs/stacked-experts.js";
import { expertsReference } from "./experts-reference.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, type Tensors, tensor } from "./run-graph.js";

const [HIDDEN, WIDTH, EXPERTS, PER_TOKEN] = [12, 8, 8, 3];
const [BATCH, TOKENS] = [2, 9];
const X = randomTensor([BATCH, TOKENS, HIDDEN], 1, 2); // [batch, tokens, hidden]
const ALL_TOKENS = tensor([BATCH, TOKENS, 1], Array(BATCH * TOKENS).fill(1));

const linear = (name: string, inputs: number, outputs: number) => ({
  weight: tensorSource(name, [outputs, inputs]),
  inputs,
  outputs,
});

const feedForward = (name: string, activation: "silu" | "gelu" = "silu") => ({
  kind: "feed-forward" as const,
  activation,
  gate: linear(`${name}.gate`, HIDDEN, WIDTH),
  up: linear(`${name}.up`, HIDDEN, WIDTH),
  down: linear(`${name}.down`, WIDTH, HIDDEN),
});

const names = [...Array(EXPERTS).keys()].map(String);
const TENSORS: Tensors = {
  router: randomTensor([EXPERTS, HIDDEN], 2, 0.7),
  "router.bias": randomTensor([EXPERTS], 3, 2),
  // Large enough to choose other experts than the scores would.
  correction: randomTensor([EXPERTS], 4, 1),
  "shared.gate": randomTensor([1, HIDDEN], 5),
  norm: randomTensor([HIDDEN], 7, 2),
  ...Object.fromEntries(
    [...names, "shared"].flatMap((name, number) => [
      [`${name}.gate`, randomTensor([WIDTH, HIDDEN], 10 + 3 * number)],
      [`${name}.up`, randomTensor([WIDTH, HIDDEN], 11 + 3 * number)],
      [`${name}.down`, randomTensor([HIDDEN, WIDTH], 12 + 3 * number)],
    ]),
  ),
  "shared.open": randomTensor([1, HIDDEN], 6),
};

const LOGITS = linear("router", HIDDEN, EXPERTS);
const CORRECTION = tensorSource("correction", [EXPERTS]);
const NORM: Norm = { kind: "rms", weight: tensorSource("norm", [HIDDEN]), size: HIDDEN, epsilon: 1e-3 };
const softmaxRouter: ScoreRouter = {
  kind: "scores",
  logits: LOGITS,
  perToken: PER_TOKEN,
  score: "softmax",
  multiplier: 1,
};
const sigmoidRouter: ScoreRouter = { ...softmaxRouter, score: "sigmoid" };
const SUM_TO_ONE = { p: 1, epsilon: 0, floor: 0 };

const ROUTERS: readonly (readonly [rule: string, router: Router])[] = [
  ["the softmax of all logits", softmaxRouter],
  ["the softmax, weights that sum to one", { ...softmaxRouter, normalised: SUM_TO_ONE }],
  [
    "logits with a bias",
    { ...softmaxRouter, logits: { ...LOGITS, bias: tensorSource("router.bias", [EXPERTS]) }, normalised: SUM_TO_ONE },
  ],
  ["a softmax that is corrected to choose", { ...softmaxRouter, correction: CORRECTION }],
  ["weights whose sum is never less than a floor", { ...softmaxRouter, normalised: { ...SUM_TO_ONE, floor: 0.9 } }],
  ["weights of 2-norm one", { ...softmaxRouter, normalised: { ...SUM_TO_ONE, p: 2 } }],
  ["an epsilon beside the sum", { ...sigmoidRouter, normalised: { ...SUM_TO_ONE, epsilon: 0.5 } }],
  ["sigmoids", sigmoidRouter],
  ["sigmoids that are corrected to choose", { ...sigmoidRouter, correction: CORRECTION, normalised: SUM_TO_ONE }],
  ["the best groups", { ...sigmoidRouter, groups: { count: 4, chosen: 2 } }],
  ["groups by corrected scores", { ...sigmoidRouter, correction: CORRECTION, groups: { count: 2, chosen: 1 } }],
  ["logits within a soft cap", { ...sigmoidRouter, softcap: 0.8 }],
  ["weights that are multiplied", { ...sigmoidRouter, normalised: SUM_TO_ONE, multiplier: 2.5 }],
  ["a norm of what the router reads", { ...softmaxRouter, input: { norm: NORM, multiplier: 0.4 } }],
  ["a factor for each expert", { ...softmaxRouter, normalised: SUM_TO_ONE, perExpert: CORRECTION }],
  ["the sparse mixer", { kind: "sparse-mixer", logits: LOGITS, perToken: 2, jitter: 0.2 }],
];

const PLAIN: Experts = {
  kind: "experts",
  router: softmaxRouter,
  experts: names.map((name) => feedForward(name)),
  weighted: "output",
};

async function run(description: Experts, mask = ALL_TOKENS, x = X, form: Arithmetic["experts"] = "one-by-one") {
  const { output, tokens } = await runBlocks(
    (context, input) => {
      const result = experts(context, description, input("x"), { mask: input("mask") });
      context.builder.output(result.output, "output", "float32", ["batch", "tokens", HIDDEN]);
      const counts = context.builder.op("Cast", [result.tokens], { attributes: { to: 1 } });
      context.builder.output(counts, "tokens", "float32", [EXPERTS]);
    },
    { x, mask },
    TENSORS,
    { experts: form },
  );
  return { output: output ?? new Float32Array(), tokens: [...(tokens ?? [])] };
}

function countsOf(chosen: readonly number[]): number[] {
  return names.map((_, expert) => chosen.filter((other) => other === expert).length);
}

describe("each token is the weighted sum of the experts that the router chooses by", () => {
  test.each(ROUTERS)("%s", async (_rule, router) => {
    const description = { ...PLAIN, router };
    const { output, tokens } = await run(description);
    const expected = rowsOf(X).map((row) => expertsReference(description, TENSORS, row));
    expect(
      largestDifference(
        output,
        expected.flatMap((row) => row.output),
      ),
    ).toBeLessThan(1e-5);
    expect(tokens).toEqual(countsOf(expected.flatMap((row) => row.chosen)));
  });

  test("each of these routers gives something else", () => {
    const outputs = ROUTERS.map(([, router]) =>
      rowsOf(X)
        .flatMap((row) => expertsReference({ ...PLAIN, router }, TENSORS, row).output)
        .map((value) => value.toFixed(4))
        .join(),
    );
    expect(new Set(outputs).size).toBe(ROUTERS.length);
  });
});

describe("batched products of stacked experts give the same", () => {
  test.each(ROUTERS)("%s", async (_rule, router) => {
    const description = { ...PLAIN, router };
    const [single, stacked] = [await run(description), await run(description, ALL_TOKENS, X, "stacked")];
    expect(largestDifference(stacked.output, [...single.output])).toBeLessThan(1e-5);
    expect(stacked.tokens).toEqual(single.tokens);
  });

  test("for tokens beside padding, which is not counted", async () => {
    const isToken = Array.from({ length: BATCH * TOKENS }, (_, row) => (row < TOKENS + 4 ? 1 : 0));
    const mask = tensor([BATCH, TOKENS, 1], isToken);
    const [single, stacked] = [await run(PLAIN, mask), await run(PLAIN, mask, X, "stacked")];
    const ofTokens = (output: Float32Array) => output.subarray(0, (TOKENS + 4) * HIDDEN);
    expect(largestDifference(ofTokens(stacked.output), [...ofTokens(single.output)])).toBeLessThan(1e-5);
    expect(stacked.output.every(Number.isFinite)).toBe(true);
    expect(stacked.tokens).toEqual(single.tokens);
  });

  test("when all tokens are sent to the same experts, and when one token is alone", async () => {
    const [row = []] = rowsOf(X);
    for (const tokens of [1, 100]) {
      const x = tensor([1, tokens, HIDDEN], Array.from({ length: tokens }, () => row).flat());
      const mask = tensor([1, tokens, 1], Array(tokens).fill(1));
      const { output } = await run(PLAIN, mask, x, "stacked");
      const expected = expertsReference(PLAIN, TENSORS, row).output;
      for (const found of rowsOf(tensor([1, tokens, HIDDEN], [...output]))) {
        expect(largestDifference(Float32Array.from(found), expected)).toBeLessThan(1e-5);
      }
    }
  });

  test("where experts have more rows than a block, some several blocks more, and others none", async () => {
    const tokens = 230;
    const some = rowsOf(X).slice(0, 3);
    const rows = Array.from(
      { length: tokens },
      (_, token) => some[token % 23 === 0 ? 1 : token % 57 === 0 ? 2 : 0] ?? [],
    );
    const x = tensor([1, tokens, HIDDEN], rows.flat());
    const mask = tensor([1, tokens, 1], Array(tokens).fill(1));
    const [single, stacked] = [await run(PLAIN, mask, x), await run(PLAIN, mask, x, "stacked")];
    // A block has 64 × ⌈230 × 3 / (8 × 64)⌉ = 128 rows.
    expect(Math.max(...single.tokens)).toBeGreaterThan(128);
    expect(Math.min(...single.tokens)).toBe(0);
    expect(largestDifference(stacked.output, [...single.output])).toBeLessThan(1e-5);
  });

  const biased = PLAIN.experts.map((expert) => ({
    ...expert,
    up: { ...expert.up, bias: tensorSource("up", [WIDTH]) },
  }));
  const mixed = PLAIN.experts.map((expert, index) => (index === 3 ? feedForward("3", "gelu") : expert));
  test.each<[what: string, changes: Partial<Experts>]>([
    ["with weights that multiply what enters", { weighted: "input" }],
    ["with several activations", { experts: mixed }],
    ["with biases", { experts: biased }],
    ["without a gate", { experts: PLAIN.experts.map(({ gate: _, ...expert }) => expert) }],
  ])("and experts %s are not stacked", (_what, changes) => {
    expect(canBeStacked(PLAIN)).toBe(true);
    expect(canBeStacked({ ...PLAIN, ...changes })).toBe(false);
  });
});

describe("an expert's weight and the shared expert", () => {
  const shared = { feedForward: feedForward("shared", "gelu") };
  const cases: readonly (readonly [rule: string, description: Experts])[] = [
    ["the weight may multiply what enters an expert", { ...PLAIN, router: sigmoidRouter, weighted: "input" }],
    ["a norm may be over what enters experts, and not over what the router reads", { ...PLAIN, norm: NORM }],
    ["a shared expert is added for every token", { ...PLAIN, shared }],
    ["a shared expert may have a gate", { ...PLAIN, shared: { ...shared, gate: linear("shared.open", HIDDEN, 1) } }],
  ];
  test.each(cases)("%s", async (_rule, description) => {
    const { output } = await run(description);
    const expected = rowsOf(X).flatMap((row) => expertsReference(description, TENSORS, row).output);
    expect(largestDifference(output, expected)).toBeLessThan(2e-5);
  });
});

test("padding is computed by no expert, and counted by none", async () => {
  const lengths = [TOKENS, 4];
  const isToken = lengths.flatMap((length) => [...Array(TOKENS).keys()].map((token) => (token < length ? 1 : 0)));
  const mask = tensor([BATCH, TOKENS, 1], isToken);
  const { output, tokens } = await run(PLAIN, mask);
  const expected = rowsOf(X).map((row, index) =>
    isToken[index] === 1 ? expertsReference(PLAIN, TENSORS, row) : { output: row.map(() => 0), chosen: [] },
  );
  expect(
    largestDifference(
      output,
      expected.flatMap((row) => row.output),
    ),
  ).toBeLessThan(1e-5);
  expect(tokens).toEqual(countsOf(expected.flatMap((row) => row.chosen)));
});

test("experts that no token reaches change nothing", async () => {
  const x = { ...X, shape: [1, 1, HIDDEN], data: X.data.subarray(0, HIDDEN) };
  const { output, tokens } = await run(PLAIN, tensor([1, 1, 1], [1]), x);
  const expected = expertsReference(PLAIN, TENSORS, [...x.data]);
  expect(largestDifference(output, expected.output)).toBeLessThan(1e-5);
  expect(tokens.filter((count) => count === 0)).toHaveLength(EXPERTS - PER_TOKEN);
});

test("a token gets the same whatever other tokens are beside it", async () => {
  const together = await run(PLAIN);
  const alone = await Promise.all(
    rowsOf(X).map((row) => run(PLAIN, tensor([1, 1, 1], [1]), tensor([1, 1, HIDDEN], row))),
  );
  const difference = largestDifference(
    together.output,
    alone.flatMap(({ output }) => [...output]),
  );
  expect(difference).toBeLessThan(1e-6);
});
