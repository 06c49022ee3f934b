// What a cache keeps and loses, held against the formats' own code tables, one number at a time.

import { describe, expect, test } from "vitest";
import { type CacheRounding, type Side, throughCache } from "../../src/graphs/kv-cache.js";
import { decodeTable, encodeFloat8, FLOAT8_CODES, type Float8CodeName } from "../../src/numerics/float8.js";
import { randomTensor, runBlocks, type Tensor, tensor } from "./run-graph.js";

const LAYER = 1;
const SCALES = { k: [9, 0.37, 9], v: [9, 0.0021, 9] } as const;
const FORMATS = Object.keys(FLOAT8_CODES) as Float8CodeName[];
const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;
const LARGEST_BFLOAT16 = (2 - 2 ** -7) * 2 ** 127;

const ROUNDINGS: readonly CacheRounding[] = [
  { elementType: "float32", largest: LARGEST_FLOAT32 },
  { elementType: "bfloat16", largest: LARGEST_BFLOAT16 },
  ...FORMATS.flatMap((elementType): CacheRounding[] => {
    const { largest } = FLOAT8_CODES[elementType];
    return [
      { elementType, largest },
      { elementType, largest, scales: SCALES },
    ];
  }),
];

/** Numbers that a format keeps, ties between two of them, and what lies beyond and below its range. */
const EDGES = [
  [0, -0, 1, -1, 16, 17, -17, 19, 2 ** -6, 2 ** -9, 3 * 2 ** -10],
  [2 ** -10, -(2 ** -10), 2 ** -11, 2 ** -10 + 2 ** -20, 2 ** -16, 2 ** -17, -(2 ** -18), 2 ** -30],
  [240, 240.00001, -248, 447, 448, 448.00003, 464, -465, 57344, 57345, -61441, 1e6, -1e15],
].flat();

const SHAPE = [3, 40, 8] as const; // batch, tokens, kv_heads × head_dim
/** Tokens of each row; the rest is padding. */
const LENGTHS = [40, 17, 1];

/** Random numbers of all sizes with the edges among them, 0 where padding is. */
function cacheInput(): Tensor {
  const [, tokens, width] = SHAPE;
  const sizes = randomTensor(SHAPE, 5, 12).data;
  const data = randomTensor(SHAPE, 6).data.map((value, index) => value * 2 ** (sizes[index] ?? 0));
  data.set(EDGES, 24);
  data.set(EDGES.toReversed(), (tokens + 5) * width);
  return tensor(
    SHAPE,
    data.map((value, index) => (tokenOf(index) < (LENGTHS[rowOf(index)] ?? 0) ? value : 0)),
  );
}

const rowOf = (index: number) => Math.floor(index / (SHAPE[1] * SHAPE[2]));
const tokenOf = (index: number) => Math.floor(index / SHAPE[2]) % SHAPE[1];

/** To nearest, ties to even: the upper half of a float32's bits. */
function roundToBfloat16(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0] ?? 0;
  const rounded = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(Uint32Array.of(rounded).buffer)[0] ?? Number.NaN;
}

/** What is stored for x / scale, as a number. */
function stored(elementType: CacheRounding["elementType"], scaled: number): number {
  if (elementType === "float32") return scaled;
  if (elementType === "bfloat16") return roundToBfloat16(scaled);
  const format = elementType as Float8CodeName;
  return decodeTable(format)[encodeFloat8(format, scaled)] ?? Number.NaN;
}

interface Expected {
  readonly kept: readonly number[];
  readonly noise: readonly number[]; // [batch]
  readonly saturated: readonly number[];
  readonly flushed: readonly number[];
}

/** The same in plain JavaScript; float32 where the cache is. */
function reference({ elementType, largest, scales }: CacheRounding, side: Side, x: Float32Array): Expected {
  const scale = Math.fround(scales?.[side][LAYER] ?? 1);
  const scaled = x.map((value) => value / scale);
  const kept = Float32Array.from(scaled, (value) => stored(elementType, value)).map((value) => value * scale);
  const sumRows = (of: (index: number) => number) =>
    LENGTHS.map((_, row) => x.reduce((sum, _value, index) => sum + (rowOf(index) === row ? of(index) : 0), 0));
  const at = (values: Float32Array, index: number) => values[index] ?? Number.NaN;
  return {
    kept: [...kept],
    noise: sumRows((index) => (at(x, index) - at(kept, index)) ** 2),
    saturated: sumRows((index) => (Math.abs(at(scaled, index)) > largest ? 1 : 0)),
    flushed: sumRows((index) => (at(x, index) !== 0 && at(kept, index) === 0 ? 1 : 0)),
  };
}

async function cached(
  choice: number,
  side: Side,
  x: Tensor,
  roundings = ROUNDINGS,
): Promise<Record<string, Float32Array>> {
  return runBlocks(
    ({ builder }, input) => {
      const { kept, loss } = throughCache(builder, roundings, { layer: LAYER, side }, input("choice"), input("x"));
      builder.output(kept, "kept", "float32", [...SHAPE]);
      for (const kind of ["noise", "saturated", "flushed"] as const) {
        builder.output(loss[kind], kind, "float32", [SHAPE[0]]);
      }
    },
    { x, choice: { type: "int32", shape: [1], data: Int32Array.of(choice) } },
  );
}

/** −0 and 0 are one number; a sum of squares has the rounding of its sum. */
function expectAsReferenced(found: Record<string, Float32Array>, expected: Expected, what?: string): void {
  expect([...(found.kept ?? [])].map((value) => value + 0)).toEqual(expected.kept.map((value) => value + 0));
  for (const [row, noise] of expected.noise.entries()) {
    expect(Math.abs((found.noise?.[row] ?? Number.NaN) - noise), what).toBeLessThanOrEqual(1e-6 * noise);
  }
  expect([...(found.saturated ?? [])], what).toEqual(expected.saturated);
  expect([...(found.flushed ?? [])], what).toEqual(expected.flushed);
}

const ROWS = ROUNDINGS.map((rounding, choice) => ({
  choice,
  rounding,
  name: `${rounding.elementType}${rounding.scales === undefined ? "" : " with scales"}`,
}));

describe.each(["k", "v"] as const)("of %s a cache keeps what the chosen format has codes for", (side) => {
  test.each(ROWS)("$name", async ({ choice, rounding }) => {
    const x = cacheInput();
    expectAsReferenced(await cached(choice, side, x), reference(rounding, side, x.data));
  });
});

test("every format of 8 bits loses something of this input: it is beyond its range, and below", () => {
  for (const { rounding, name } of ROWS.filter(({ name }) => name.startsWith("float8"))) {
    const { noise, saturated, flushed } = reference(rounding, "k", cacheInput().data);
    for (const figures of [noise, saturated, flushed]) expect(figures[0], name).toBeGreaterThan(0);
  }
});

test("padding loses nothing and counts as nothing", async () => {
  const x = tensor(SHAPE, new Float32Array(SHAPE[0] * SHAPE[1] * SHAPE[2]));
  for (const { choice, name } of ROWS) {
    const { kept, noise, saturated, flushed } = await cached(choice, "k", x);
    expect(kept?.every((value) => value === 0)).toBe(true);
    expect([noise, saturated, flushed], name).toEqual(Array.from({ length: 3 }, () => new Float32Array(SHAPE[0])));
  }
});

test("one rounding alone needs no choice: any number gives it", async () => {
  const x = cacheInput();
  const [rounding] = ROUNDINGS.slice(3);
  if (rounding === undefined) throw new Error("no such rounding");
  for (const choice of [0, 5]) {
    expectAsReferenced(await cached(choice, "v", x, [rounding]), reference(rounding, "v", x.data));
  }
});

test("a cache without any rounding is an error", async () => {
  await expect(cached(0, "k", cacheInput(), [])).rejects.toThrow("no roundings to choose from");
});
