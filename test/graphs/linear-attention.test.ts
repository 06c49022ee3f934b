// Linear attention, run in ONNX Runtime, against its recurrence in float64.

import { describe, expect, test } from "vitest";
import { linearAttention } from "../../src/graphs/linear-attention.js";
import { linearAttentionReference, pieces } from "./reference.js";
import { largestDifference, randomTensor, rowsOf, runBlocks, type Tensor, tensor } from "./run-graph.js";

interface Sizes {
  readonly tokens: number;
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

type Inputs = Readonly<Record<"query" | "key" | "value" | "decay" | "beta", Tensor>>;
type Rule = "gated" | "gated delta";

const BATCH = 2;
const SCALE = 0.3;

function inputsOf({ tokens, keyHeads, valueHeads, keyDim, valueDim }: Sizes): Inputs {
  const random = (width: number, seed: number, scale = 1) => randomTensor([BATCH, tokens, width], seed, scale);
  const positive = (x: Tensor, sign: number) =>
    tensor(
      x.shape,
      x.data.map((value) => sign * Math.abs(value)),
    );
  return {
    query: random(keyHeads * keyDim, 1),
    key: random(keyHeads * keyDim, 2, 1.5 * keyDim ** -0.5),
    value: random(valueHeads * valueDim, 3),
    decay: positive(random(valueHeads, 4), -1),
    beta: positive(random(valueHeads, 5, 2), 1),
  };
}

async function attend(rule: Rule, sizes: Sizes, inputs: Inputs): Promise<Float32Array | undefined> {
  const { y } = await runBlocks(
    (context, input) => {
      const [query, key, value, decay] = [input("query"), input("key"), input("value"), input("decay")];
      const given = { query, key, value, decay, ...(rule === "gated delta" && { beta: input("beta") }) };
      const output = linearAttention(context, given, { ...sizes, scale: SCALE });
      context.builder.output(output, "y", "float32", ["batch", "tokens", sizes.valueHeads * sizes.valueDim]);
    },
    rule === "gated delta"
      ? inputs
      : { query: inputs.query, key: inputs.key, value: inputs.value, decay: inputs.decay },
  );
  return y;
}

/** [batch, tokens, value_heads × value_dim] */
function expectedOf(rule: Rule, { tokens, keyHeads, valueHeads, keyDim, valueDim }: Sizes, inputs: Inputs): number[] {
  const prompts = Array.from({ length: BATCH }, (_, prompt) => {
    const rows = (of: keyof Inputs) => rowsOf(inputs[of]).slice(prompt * tokens, (prompt + 1) * tokens);
    const heads = Array.from({ length: valueHeads }, (_, head) => {
      const keyHead = Math.floor(head / (valueHeads / keyHeads));
      const ofHead = (of: keyof Inputs, size: number, at: number) => rows(of).map((row) => pieces(row, size)[at] ?? []);
      const numbers = (of: keyof Inputs) => ofHead(of, 1, head).flat();
      return linearAttentionReference(
        {
          query: ofHead("query", keyDim, keyHead),
          key: ofHead("key", keyDim, keyHead),
          value: ofHead("value", valueDim, head),
          decay: numbers("decay"),
          ...(rule === "gated delta" && { beta: numbers("beta") }),
        },
        SCALE,
      );
    });
    return Array.from({ length: tokens }, (_, token) => heads.flatMap((head) => head[token] ?? []));
  });
  return prompts.flat(2);
}

const SIZES: readonly (readonly [what: string, sizes: Sizes])[] = [
  ["small heads", { tokens: 9, keyHeads: 2, valueHeads: 2, keyDim: 4, valueDim: 6 }],
  ["heads of values that share one of keys", { tokens: 9, keyHeads: 2, valueHeads: 6, keyDim: 8, valueDim: 4 }],
  // From 4096 numbers of a state on, the operator multiplies matrices.
  ["large heads", { tokens: 40, keyHeads: 1, valueHeads: 2, keyDim: 64, valueDim: 64 }],
];

describe.each<Rule>(["gated", "gated delta"])("the %s rule is the recurrence", (rule) => {
  test.each(SIZES)("with %s", async (_what, sizes) => {
    const inputs = inputsOf(sizes);
    expect(largestDifference(await attend(rule, sizes, inputs), expectedOf(rule, sizes, inputs))).toBeLessThan(2e-6);
  });

  test.each(SIZES)("with %s, a token sees none behind it", async (_what, sizes) => {
    const inputs = inputsOf(sizes);
    const kept = sizes.tokens - 3;
    const changed = Object.entries(inputs).map(([name, { shape, data }]) => {
      const width = shape.at(-1) ?? 0;
      return [
        name,
        tensor(
          shape,
          data.map((value, at) => (Math.floor(at / width) % sizes.tokens < kept ? value : -7)),
        ),
      ];
    });
    const earlier = (y: Float32Array | undefined) =>
      pieces([...(y ?? [])], sizes.valueHeads * sizes.valueDim).filter((_, row) => row % sizes.tokens < kept);
    const whole = earlier(await attend(rule, sizes, inputs));
    expect(whole).toHaveLength(BATCH * kept);
    expect(earlier(await attend(rule, sizes, Object.fromEntries(changed) as Inputs))).toEqual(whole);
  });
});
