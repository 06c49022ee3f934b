// Weights of integers: the numbers that the graph makes of words, zero points and scales are those of the methods' formulas,
// in every order of the integers and whatever is selected.

import { describe, expect, test } from "vitest";
import {
  type PackedIntegers,
  type ScaledSource,
  tensorSource,
  type WeightSource,
  type ZeroPoint,
} from "../../src/architectures/weight-source.js";
import { expectedMatrix, numbersOf, type Stored } from "./numbers-of-weights.js";
import { randomTensor, type StoredTensor, type Tensor } from "./run-graph.js";

/** The last group of inputs is smaller, and outputs fill no whole number of words of 8. */
const [OUTPUTS, INPUTS, GROUP] = [24, 40, 16] as const;
const GROUPS = Math.ceil(INPUTS / GROUP);

/** An integer of a place, without pattern. */
function integer(bits: number, row: number, column: number, seed = 1): number {
  return ((((row * 7919 + column * 104729 + seed * 1299709) * 2654435761) >>> 7) % 2 ** bits) | 0;
}

/** Words of 32 bits of a matrix of integers, along an axis. */
function wordsOf(
  [rows, columns]: readonly [number, number],
  { bits, axis, order }: PackedIntegers,
  at: (row: number, column: number) => number,
): StoredTensor {
  const inWord = 32 / bits;
  const shape = axis === 0 ? [Math.ceil(rows / inWord), columns] : [rows, Math.ceil(columns / inWord)];
  const places = order === "in-order" ? Array.from({ length: inWord }, (_, place) => place) : [0, 2, 4, 6, 1, 3, 5, 7];
  const [wordRows = 0, wordColumns = 0] = shape;
  const words = Array.from({ length: wordRows * wordColumns }, (_, word) => {
    const [row, column] = [Math.floor(word / wordColumns), word % wordColumns];
    return places.reduce((sum, place, index) => {
      const [r, c] = axis === 0 ? [row * inWord + place, column] : [row, column * inWord + place];
      const value = r < rows && c < columns ? at(r, c) : 0;
      return sum + value * 2 ** (bits * index);
    }, 0);
  });
  return { type: "int32", shape, data: new Uint8Array(Uint32Array.from(words).buffer) };
}

function source(
  stored: ScaledSource["stored"],
  coding: ScaledSource["coding"],
  zeroPoint: ZeroPoint | undefined,
  tensors: Readonly<Record<string, Stored>>,
  others: Partial<ScaledSource> = {},
): ScaledSource {
  const tensorOf = (name: string) => tensorSource(name, tensors[name]?.shape ?? []);
  return {
    kind: "scaled",
    shape: stored === "outputs-first" ? [OUTPUTS, INPUTS] : [INPUTS, OUTPUTS],
    stored,
    codes: { ...tensorOf("codes"), stored },
    coding,
    ...(zeroPoint !== undefined && { zeroPoint }),
    scales: [{ tensor: tensorOf("scale"), per: [1, GROUP], means: "factor" }],
    ...others,
  };
}

function groupOf(input: number): number {
  return Math.floor(input / GROUP);
}

describe.each([4, 8] as const)("compressed-tensors, words of inputs, %i bits", (bits) => {
  const coding: PackedIntegers = { bits, axis: 1, order: "in-order" };
  const scale: Tensor = randomTensor([OUTPUTS, GROUPS], 3, 0.1);
  const codes = wordsOf([OUTPUTS, INPUTS], coding, (o, i) => integer(bits, o, i));
  const scaleOf = (o: number, i: number) => scale.data[o * GROUPS + groupOf(i)] ?? Number.NaN;
  const zeros: PackedIntegers = { bits, axis: 0, order: "in-order" };
  const zero = wordsOf([OUTPUTS, GROUPS], zeros, (o, group) => integer(bits, o, group, 2));
  const tensors = { codes, scale, zero };
  const ofTensor: ZeroPoint = { tensor: tensorSource("zero", zero.shape), coding: zeros, isLessByOne: false };

  describe.each([
    ["half of the range", 2 ** (bits - 1), () => 2 ** (bits - 1)],
    ["one for each scale", ofTensor, (o: number, i: number) => integer(bits, o, groupOf(i), 2)],
  ] as const)("zero point: %s", (_name, zeroPoint, zeroOf) => {
    const whole = source("outputs-first", coding, zeroPoint, tensors);
    const all = expectedMatrix([OUTPUTS, INPUTS], (o, i) => integer(bits, o, i) - zeroOf(o, i), scaleOf);

    test("the whole matrix", async () => {
      expect(await numbersOf(whole, tensors)).toEqual(all);
    });

    test("some rows", async () => {
      expect(await numbersOf({ kind: "rows", of: whole, start: 5, end: 19 }, tensors)).toEqual(all.slice(5, 19));
    });

    test("outputs group by group", async () => {
      const some: WeightSource = { kind: "interleaved", of: whole, groups: 4, start: 1, end: 3 };
      expect(await numbersOf(some, tensors)).toEqual(all.filter((_, row) => [1, 2].includes(row % 6)));
    });
  });

  test("a scale for each output", async () => {
    const perOutput = randomTensor([OUTPUTS, 1], 4, 0.1);
    const per = [1, INPUTS] as const;
    const scales = [{ tensor: tensorSource("scale", perOutput.shape), per, means: "factor" }] as const;
    const whole = source("outputs-first", coding, 2 ** (bits - 1), tensors, { scales });
    const found = await numbersOf(whole, { codes, scale: perOutput });
    const number = (o: number, i: number) => integer(bits, o, i) - 2 ** (bits - 1);
    expect(found).toEqual(expectedMatrix([OUTPUTS, INPUTS], number, (o) => perOutput.data[o] ?? Number.NaN));
  });
});

test("compressed-tensors, a byte each, with zero points", async () => {
  const bytes = (rows: number, columns: number, seed: number): StoredTensor => ({
    type: "int8",
    shape: [rows, columns],
    data: Uint8Array.from({ length: rows * columns }, (_, at) =>
      integer(8, Math.floor(at / columns), at % columns, seed),
    ),
  });
  const signed = (value: number) => (value < 128 ? value : value - 256);
  const scale = randomTensor([OUTPUTS, GROUPS], 3, 0.1);
  const tensors = { codes: bytes(OUTPUTS, INPUTS, 1), scale, zero: bytes(OUTPUTS, GROUPS, 2) };
  const zeroPoint = {
    tensor: tensorSource("zero", [OUTPUTS, GROUPS]),
    coding: "own-dtype",
    isLessByOne: false,
  } as const;
  const whole = source("outputs-first", "own-dtype", zeroPoint, tensors);
  const all = expectedMatrix(
    [OUTPUTS, INPUTS],
    (o, i) => signed(integer(8, o, i)) - signed(integer(8, o, groupOf(i), 2)),
    (o, i) => scale.data[o * GROUPS + groupOf(i)] ?? Number.NaN,
  );
  expect(await numbersOf(whole, tensors)).toEqual(all);
  expect(await numbersOf({ kind: "rows", of: whole, start: 3, end: 9 }, tensors)).toEqual(all.slice(3, 9));
});

/** GPTQ and AWQ: [inputs, outputs], scales and zero points [groups, outputs]. */
const SCALE = randomTensor([GROUPS, OUTPUTS], 3, 0.1);

describe.each([
  ["GPTQ, 4 bits", 4, 0, "in-order", false],
  ["GPTQ, 8 bits", 8, 0, "in-order", false],
  ["GPTQ's first version, 4 bits", 4, 0, "in-order", true],
  ["GPTQ's first version, 8 bits", 8, 0, "in-order", true],
  ["AWQ", 4, 1, "even-first", false],
] as const)("%s", (_name, bits, axis, order, isLessByOne) => {
  const coding: PackedIntegers = { bits, axis, order };
  const zeros: PackedIntegers = { bits, axis: 1, order };
  const codes = wordsOf([INPUTS, OUTPUTS], coding, (i, o) => integer(bits, i, o));
  // One that is less by one may be anything up to the last but one.
  const stored = (group: number, o: number) => integer(bits, group, o, 2) % (2 ** bits - 1);
  const zero = wordsOf([GROUPS, OUTPUTS], zeros, stored);
  const zeroPoint: ZeroPoint = { tensor: tensorSource("zero", zero.shape), coding: zeros, isLessByOne };
  const number = (i: number, o: number, group: number) =>
    integer(bits, i, o) - stored(group, o) - (isLessByOne ? 1 : 0);
  const scaleOf = (group: number, o: number) => SCALE.data[group * OUTPUTS + o] ?? Number.NaN;
  const tensors = { codes, zero, scale: SCALE };

  test("the whole matrix, inputs first, and some outputs", async () => {
    const whole = source("inputs-first", coding, zeroPoint, tensors);
    const all = expectedMatrix(
      [INPUTS, OUTPUTS],
      (i, o) => number(i, o, groupOf(i)),
      (i, o) => scaleOf(groupOf(i), o),
    );
    expect(await numbersOf(whole, tensors)).toEqual(all);
    const some = await numbersOf({ kind: "rows", of: whole, start: 3, end: 20 }, tensors);
    expect(some).toEqual(all.map((row) => row.slice(3, 20)));
  });

  test("inputs that name their groups", async () => {
    const groups = Array.from({ length: INPUTS }, (_, input) => (input * 11) % GROUPS);
    const index: StoredTensor = {
      type: "int32",
      shape: [INPUTS],
      data: new Uint8Array(Int32Array.from(groups).buffer),
    };
    const blockOfInput = tensorSource("index", [INPUTS]);
    const whole = source("inputs-first", coding, zeroPoint, tensors, { blockOfInput });
    const all = expectedMatrix(
      [INPUTS, OUTPUTS],
      (i, o) => number(i, o, groups[i] ?? 0),
      (i, o) => scaleOf(groups[i] ?? 0, o),
    );
    expect(await numbersOf(whole, { ...tensors, index })).toEqual(all);
  });
});

test("a zero point of 0, less by one, takes one from the next in its word: as GPTQModel writes and reads it", async () => {
  const coding: PackedIntegers = { bits: 4, axis: 0, order: "in-order" };
  const zeros: PackedIntegers = { ...coding, axis: 1 };
  const zeroOf = (group: number, o: number) => (o % 5 === 0 ? 0 : integer(4, group, o, 2));
  const words = wordsOf([GROUPS, OUTPUTS], zeros, zeroOf);
  const less = new Uint32Array(words.data.buffer).map((word) => (word - 0x11111111) >>> 0);
  const tensors = {
    codes: wordsOf([INPUTS, OUTPUTS], coding, (i, o) => integer(4, i, o)),
    zero: { ...words, data: new Uint8Array(less.buffer) },
    scale: SCALE,
  };
  const zeroPoint: ZeroPoint = { tensor: tensorSource("zero", words.shape), coding: zeros, isLessByOne: true };
  const all = expectedMatrix(
    [INPUTS, OUTPUTS],
    (i, o) => integer(4, i, o) - zeroOf(groupOf(i), o),
    (i, o) => SCALE.data[groupOf(i) * OUTPUTS + o] ?? Number.NaN,
  );
  expect(await numbersOf(source("inputs-first", coding, zeroPoint, tensors), tensors)).toEqual(all);
});
