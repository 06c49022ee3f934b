// Attention of the processor over long prompts, whose queries are cut in chunks, against the formula in float64.

import { describe, expect, test } from "vitest";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import { ATTENTION_VALUES, buildAttention } from "../../src/graphs/attend.js";
import type { AttentionShape } from "../../src/graphs/fused-attention.js";
import type { Graph } from "../../src/onnx/model-proto.js";
import { PROVIDERS } from "../../src/runtime/providers.js";
import { attendReference, pieces } from "./reference.js";
import { largestDifference, randomTensor, rowsOf, runGraph } from "./run-graph.js";

const CPU: Arithmetic = PROVIDERS.cpu.arithmetic.BF16;

interface Case {
  readonly shape: AttentionShape;
  /** Of each prompt; they are filled up to the longest. */
  readonly lengths: readonly number[];
}

const GROUPED: AttentionShape = { heads: 4, kvHeads: 2, headDim: 8 };

const CASES: readonly [string, Case][] = [
  ["as many tokens as are not cut", { shape: GROUPED, lengths: [512] }],
  ["one token more", { shape: GROUPED, lengths: [513] }],
  ["a multiple of the chunk", { shape: GROUPED, lengths: [768] }],
  ["a last chunk that is shorter", { shape: GROUPED, lengths: [770] }],
  ["a batch of long prompts", { shape: GROUPED, lengths: [560, 3, 601] }],
  ["head_dim 10, no multiple of 8", { shape: { heads: 2, kvHeads: 1, headDim: 10 }, lengths: [530] }],
  ["a window within a chunk", { shape: { ...GROUPED, slidingWindow: 100 }, lengths: [600] }],
  ["a window over several chunks", { shape: { ...GROUPED, slidingWindow: 300 }, lengths: [800] }],
];

function inputsOf({ shape: { heads, kvHeads, headDim }, lengths }: Case) {
  const width = Math.max(...lengths);
  const tokens = (count: number, seed: number) => randomTensor([lengths.length, width, count * headDim], seed, 2);
  return {
    [ATTENTION_VALUES.query]: tokens(heads, 1),
    [ATTENTION_VALUES.key]: tokens(kvHeads, 2),
    [ATTENTION_VALUES.value]: tokens(kvHeads, 3),
    [ATTENTION_VALUES.lastPositions]: {
      type: "int32",
      data: Int32Array.from(lengths, (length) => length - 1),
      shape: [lengths.length],
    },
    [ATTENTION_VALUES.totalTokens]: { type: "int32", data: Int32Array.of(width), shape: [1] },
  } as const;
}

describe.each(CASES)("with %s", (_rule, given) => {
  test("each token attends to itself and those before it", async () => {
    const { shape, lengths } = given;
    const inputs = inputsOf(given);
    const found = await runGraph(buildAttention(shape, CPU), "", inputs);
    const rows = (values: ArrayLike<number>, width: number) => pieces([...Array.from(values)], width);
    const attended = rows(found[ATTENTION_VALUES.attended] ?? [], shape.heads * shape.headDim);
    const width = Math.max(...lengths);
    const heads = (name: "query" | "key" | "value", prompt: number) =>
      rowsOf(inputs[ATTENTION_VALUES[name]])
        .slice(prompt * width, prompt * width + (lengths[prompt] ?? 0))
        .map((row) => pieces(row, shape.headDim));
    for (const [prompt, length] of lengths.entries()) {
      const expected = attendReference(heads("query", prompt), heads("key", prompt), heads("value", prompt), {
        ...shape,
        slidingWindow: shape.slidingWindow,
      });
      const ofPrompt = attended.slice(prompt * width, prompt * width + length).flat();
      expect(largestDifference(ofPrompt, expected.flat()), `prompt ${prompt}`).toBeLessThan(2e-6);
    }
  });
});

test("the operator tiles where neither the whole nor a chunk fits: elsewhere heads have a sink that no score comes near", () => {
  const operators = nodesOf(buildAttention(GROUPED, CPU)).filter(({ type }) => type === "GroupQueryAttention");
  const sinks = operators.map(({ inputs }) => inputs[11]?.split("/").at(-1));
  const none = "float32s:-1e+30,-1e+30,-1e+30,-1e+30";
  expect(sinks).toEqual([none, none, undefined]);
});

/** Of the graph and of those that its operators run. */
function nodesOf({ nodes }: Graph): Graph["nodes"][number][] {
  return nodes.flatMap((node) => [
    node,
    ...Object.values(node.attributes).flatMap((attribute) =>
      typeof attribute === "object" && "graph" in attribute ? nodesOf(attribute.graph) : [],
    ),
  ]);
}
