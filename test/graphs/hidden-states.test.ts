// Hidden states between two segments: float32 as they are, 16-bit types as float16 with a scale per token.

import { describe, expect, test } from "vitest";
import { type Arithmetic, type ComputeType, FLOAT32_ARITHMETIC } from "../../src/graphs/arithmetic.js";
import { HIDDEN_VALUES, hiddenInput, hiddenOutput, hiddenTypeOf } from "../../src/graphs/hidden-states.js";
import { cast } from "../../src/graphs/weights.js";
import { decodeBits16 } from "../../src/numerics/bits16.js";
import { GraphBuilder } from "../../src/onnx/graph-builder.js";
import { encodeModelProto, type Graph } from "../../src/onnx/model-proto.js";
import { type NamedTensors, openSession } from "../../src/runtime/session.js";
import { randomTensor, type Tensor, tensor } from "./run-graph.js";

const [BATCH, TOKENS, HIDDEN] = [2, 5, 24];
const SHAPE = [BATCH, TOKENS, HIDDEN];
const NARROW: readonly ComputeType[] = ["float16", "bfloat16"];

function computingIn(elementType: ComputeType): Arithmetic {
  return { ...FLOAT32_ARITHMETIC, elementType };
}

async function run(graph: Graph, inputs: NamedTensors, into?: NamedTensors): Promise<Record<string, Float32Array>> {
  const model = encodeModelProto(graph);
  const session = await openSession({ model, externalDataFolder: "/", provider: "cpu", purpose: "a test" });
  try {
    return await session.run(inputs, into);
  } finally {
    await session.release();
  }
}

interface Crossing {
  /** The bits of float16. */
  readonly bits: Uint16Array;
  readonly scales: Float32Array; // [batch × tokens]
  /** What the next segment reads. */
  readonly read: Float32Array;
}

/** Lets float32 values leave a graph that computes in the type, and enter the next one. */
async function cross(x: Tensor, type: ComputeType): Promise<Crossing> {
  const { hidden, hiddenScale, nextHidden, nextHiddenScale } = HIDDEN_VALUES;
  const leaving = new GraphBuilder();
  const inside = cast(leaving, leaving.input("x", "float32", SHAPE), "float32", type);
  hiddenOutput(leaving, computingIn(type), inside, HIDDEN);
  const bits = new Uint16Array(x.data.length);
  const scales = new Float32Array(BATCH * TOKENS);
  const scaleShape = [BATCH, TOKENS, 1];
  await run(
    leaving.finish(),
    { x },
    {
      [nextHidden]: { type: "float16", data: bits, shape: SHAPE },
      [nextHiddenScale]: { type: "float32", data: scales, shape: scaleShape },
    },
  );
  const entering = new GraphBuilder();
  const value = hiddenInput(entering, computingIn(type), HIDDEN);
  entering.output(cast(entering, value, type, "float32"), "y", "float32", SHAPE);
  const { y = new Float32Array() } = await run(entering.finish(), {
    [hidden]: { type: "float16", data: bits, shape: SHAPE },
    [hiddenScale]: { type: "float32", data: scales, shape: scaleShape },
  });
  return { bits, scales, read: y };
}

/** Each token with a size of its own, by powers of two. */
function tokensOfSizes(exponents: readonly number[]): Tensor {
  const { data } = randomTensor(SHAPE, 7);
  return tensor(
    SHAPE,
    data.map((value, index) => value * 2 ** (exponents[Math.floor(index / HIDDEN)] ?? 0)),
  );
}

/** Largest error of each token, relative to its largest value. */
function errorsPerToken(found: Float32Array, expected: Float32Array): number[] {
  return Array.from({ length: BATCH * TOKENS }, (_, token) => {
    const row = expected.subarray(token * HIDDEN, (token + 1) * HIDDEN);
    const errors = row.map((value, index) => Math.abs((found[token * HIDDEN + index] ?? Number.NaN) - value));
    return Math.max(...errors) / Math.max(...row.map(Math.abs));
  });
}

/** Rounds to bfloat16 and back. */
function toBfloat16(x: Float32Array): Float32Array {
  const bits = new Uint32Array(x.slice().buffer).map((word) => (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000);
  return new Float32Array(bits.buffer);
}

test.each<[ComputeType, string]>([
  ["float32", "float32"],
  ["float16", "float16"],
  ["bfloat16", "float16"],
])("what is computed in %s crosses as %s", (elementType, crosses) => {
  expect(hiddenTypeOf(computingIn(elementType))).toBe(crosses);
});

test("float32 crosses as it is, without a scale", () => {
  const builder = new GraphBuilder();
  hiddenOutput(builder, FLOAT32_ARITHMETIC, hiddenInput(builder, FLOAT32_ARITHMETIC, HIDDEN), HIDDEN);
  const { inputs, outputs } = builder.finish();
  const types = (values: typeof inputs) => values.map(({ name, elementType }) => [name, elementType]);
  expect(types(inputs)).toEqual([["hidden", "float32"]]);
  expect(types(outputs)).toEqual([["next_hidden", "float32"]]);
});

describe("16-bit hidden states come back within 2⁻¹¹ of their token's largest value", () => {
  // Of bfloat16 sizes that float16 alone could not hold: 2¹⁰⁰ overflows, 2⁻¹⁰⁰ vanishes.
  test.each<[ComputeType, number[]]>([
    ["bfloat16", [0, 100, -100, 17, -24, 1, 15, 16, -14, -120]],
    ["float16", [0, 15, -10, 3, -4, 1, 12, 14, -9, 8]],
  ])("whatever the size, side by side: %s", async (type, exponents) => {
    const x = tokensOfSizes(exponents);
    const { read } = await cross(x, type);
    const inside = type === "bfloat16" ? toBfloat16(x.data) : x.data;
    // The value has been rounded to the type itself once before, and is again when it is read.
    const ofType = type === "bfloat16" ? 2 ** -9 : 2 ** -11;
    for (const error of errorsPerToken(read, inside)) expect(error).toBeLessThanOrEqual(2 ** -11 + ofType);
  });

  test("and as float16 with its scale no further than that from what the graph held", async () => {
    const x = tokensOfSizes([0, 100, -100, 17, -24, 1, 15, 16, -14, -120]);
    const { bits, scales } = await cross(x, "bfloat16");
    const crossed = Float32Array.from(
      bits,
      (b, index) => decodeBits16("float16", b) * (scales[Math.floor(index / HIDDEN)] ?? 0),
    );
    for (const error of errorsPerToken(crossed, toBfloat16(x.data))) expect(error).toBeLessThanOrEqual(2 ** -11);
  });

  test("and a bfloat16 comes back as itself where it is not small beside its token's largest", async () => {
    const x = tensor(
      SHAPE,
      toBfloat16(randomTensor(SHAPE, 3).data).map((v) => (Math.abs(v) < 0.25 ? 1 : v)),
    );
    const { read } = await cross(x, "bfloat16");
    expect([...read]).toEqual([...x.data]);
  });
});

describe("the scale of a token", () => {
  test.each(NARROW)("is its absmax, in %s", async (type) => {
    const x = tensor(
      SHAPE,
      randomTensor(SHAPE, 5).data.map((value) => Math.round(value * 64) / 8),
    ); // exact in both
    const { scales } = await cross(x, type);
    const absmax = Array.from({ length: BATCH * TOKENS }, (_, token) =>
      Math.max(...x.data.subarray(token * HIDDEN, (token + 1) * HIDDEN).map(Math.abs)),
    );
    expect([...scales]).toEqual(absmax);
  });

  test.each(NARROW)("does not divide by zero: silence stays silence, in %s", async (type) => {
    const { read, scales } = await cross(tensor(SHAPE, new Float32Array(BATCH * TOKENS * HIDDEN)), type);
    expect(read.every((value) => value === 0)).toBe(true);
    expect(scales.every((scale) => scale > 0)).toBe(true);
  });

  test.each(NARROW)("hides nothing that is not finite, in %s", async (type) => {
    const data = randomTensor(SHAPE, 5).data;
    data[3] = Number.NaN;
    data[HIDDEN + 3] = Number.POSITIVE_INFINITY;
    const { read } = await cross(tensor(SHAPE, data), type);
    expect(read.subarray(0, HIDDEN).some(Number.isNaN)).toBe(true);
    expect(read.subarray(HIDDEN, 2 * HIDDEN).every(Number.isFinite)).toBe(false);
    expect(read.subarray(2 * HIDDEN).every(Number.isFinite)).toBe(true);
  });
});
