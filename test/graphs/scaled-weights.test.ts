// Quantized weights: the numbers that the graph makes of codes and scales are those of the formats' formulas, whatever is
// selected of them and whatever the blocks.

import { describe, expect, test } from "vitest";
import {
  type Scale,
  type ScaledSource,
  tensorSource,
  type WeightSource,
} from "../../src/architectures/weight-source.js";
import { codeTable } from "../../src/numerics/cache-codes.js";
import { expectedMatrix, numbersOf, type Stored } from "./numbers-of-weights.js";
import { randomTensor, type StoredTensor } from "./run-graph.js";

/** Every code but NaN, in an order without pattern. */
function bytesOf(count: number, largest = 0x7e): Uint8Array {
  return Uint8Array.from({ length: count }, (_, at) => {
    const code = (at * 167 + 41) % 256;
    return (code & 0x7f) > largest ? code & 0x80 : code;
  });
}

const E4M3: StoredTensor["type"] = "float8_e4m3fn";
const FLOAT8 = codeTable("float8_e4m3fn");
const E5M2 = codeTable("float8_e5m2");

/** Sign, two bits of exponent with bias 1, one bit of mantissa (OCP Microscaling Formats 1.0, 5.3.3). */
function e2m1(code: number): number {
  const [sign, exponent, mantissa] = [code & 8 ? -1 : 1, (code >> 1) & 3, code & 1];
  return sign * (exponent === 0 ? mantissa / 2 : (1 + mantissa / 2) * 2 ** (exponent - 1));
}

// 300 × 520: neither is a multiple of 128.
const [OUTPUTS, INPUTS] = [300, 520] as const;
const CODES = bytesOf(OUTPUTS * INPUTS);
const BLOCKS = [Math.ceil(OUTPUTS / 128), Math.ceil(INPUTS / 128)] as const;

/** Each scale: its tensor's shape, what an element is for, and the scale of an output and an input. */
const SCALES: Readonly<Record<string, readonly [readonly number[], Scale["per"], (o: number, i: number) => number]>> = {
  "one for all": [[1], [OUTPUTS, INPUTS], () => 0],
  "one for all, without axes": [[], [OUTPUTS, INPUTS], () => 0],
  "one for an output": [[OUTPUTS, 1], [1, INPUTS], (o) => o],
  "one for an output, on one axis": [[OUTPUTS], [1, INPUTS], (o) => o],
  "blocks of 128 × 128": [BLOCKS, [128, 128], (o, i) => Math.floor(o / 128) * BLOCKS[1] + Math.floor(i / 128)],
  "blocks of 128 × 128 with axes between": [
    [BLOCKS[0], 1, BLOCKS[1], 1],
    [128, 128],
    (o, i) => Math.floor(o / 128) * BLOCKS[1] + Math.floor(i / 128),
  ],
  "groups of 40 inputs": [[OUTPUTS, 13], [1, 40], (o, i) => o * 13 + Math.floor(i / 40)],
  "blocks of outputs": [[3], [128, INPUTS], (o) => Math.floor(o / 128)],
};

function float8Matrix(tensor: Stored, per: Scale["per"], differences: Partial<ScaledSource> = {}): ScaledSource {
  return {
    kind: "scaled",
    shape: [OUTPUTS, INPUTS],
    stored: "outputs-first",
    codes: tensorSource("codes", [OUTPUTS, INPUTS]),
    coding: "own-dtype",
    scales: [{ tensor: tensorSource("scale", tensor.shape), per, means: "factor" }],
    ...differences,
  };
}

function codes(data = CODES, shape: readonly number[] = [OUTPUTS, INPUTS]): StoredTensor {
  return { type: E4M3, shape, data };
}

describe("FP8 (E4M3) with scales", () => {
  const float8 = (output: number, input: number) => FLOAT8[CODES[output * INPUTS + input] ?? 0] ?? Number.NaN;

  describe.each(Object.entries(SCALES))("%s", (_name, [shape, per, at]) => {
    const scale = randomTensor(shape, 5, 0.02);
    const whole = float8Matrix(scale, per);
    const tensors = { codes: codes(), scale };
    const all = expectedMatrix([OUTPUTS, INPUTS], float8, (o, i) => scale.data[at(o, i)] ?? Number.NaN);

    test("the whole matrix", async () => {
      expect(await numbersOf(whole, tensors)).toEqual(all);
    });

    test("some rows, which begin within a block", async () => {
      expect(await numbersOf({ kind: "rows", of: whole, start: 100, end: 290 }, tensors)).toEqual(all.slice(100, 290));
    });

    test("outputs group by group", async () => {
      const source: WeightSource = { kind: "interleaved", of: whole, groups: 50, start: 1, end: 3 };
      expect(await numbersOf(source, tensors)).toEqual(all.filter((_, row) => [1, 2].includes(row % 6)));
    });

    test("rows of one of several matrices whose rows lie one behind the other", async () => {
      const expert: WeightSource = { kind: "expert", of: whole, index: 1, count: 3 };
      const source: WeightSource = { kind: "rows", of: expert, start: 7, end: 60 };
      expect(await numbersOf(source, tensors)).toEqual(all.slice(107, 160));
    });
  });

  test("scales of 16 bits are widened before they multiply", async () => {
    const bits = Uint16Array.from({ length: OUTPUTS }, (_, row) => 0x3c00 + row); // bfloat16
    const scale: StoredTensor = { type: "bfloat16", shape: [OUTPUTS, 1], data: new Uint8Array(bits.buffer) };
    const numbers = new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer);
    const expected = expectedMatrix([OUTPUTS, INPUTS], float8, (o) => numbers[o] ?? Number.NaN);
    expect(await numbersOf(float8Matrix(scale, [1, INPUTS]), { codes: codes(), scale })).toEqual(expected);
  });

  test("scales that are exponents of 2 (E8M0), a byte each", async () => {
    const scale: StoredTensor = { type: "uint8", shape: BLOCKS, data: bytesOf(15).map((byte) => 120 + (byte % 16)) };
    const [tensor, per] = [tensorSource("scale", BLOCKS), [128, 128] as const];
    const source = float8Matrix(scale, per, { scales: [{ tensor, per, means: "exponent" }] });
    const at = SCALES["blocks of 128 × 128"]?.[2] ?? (() => 0);
    const expected = expectedMatrix([OUTPUTS, INPUTS], float8, (o, i) => 2 ** ((scale.data[at(o, i)] ?? 0) - 127));
    expect(await numbersOf(source, { codes: codes(), scale })).toEqual(expected);
  });

  test("E5M2 has other numbers", async () => {
    const data = bytesOf(OUTPUTS * INPUTS, 0x7b);
    const scale = randomTensor([1], 5, 0.02);
    const expected = expectedMatrix(
      [OUTPUTS, INPUTS],
      (o, i) => E5M2[data[o * INPUTS + i] ?? 0] ?? Number.NaN,
      () => scale.data[0] ?? Number.NaN,
    );
    const tensors = { codes: { type: "float8_e5m2", shape: [OUTPUTS, INPUTS], data }, scale } as const;
    expect(await numbersOf(float8Matrix(scale, [OUTPUTS, INPUTS]), tensors)).toEqual(expected);
  });

  test("inputs first", async () => {
    const scale = randomTensor([5, 3], 6, 0.02); // [blocks of inputs, blocks of outputs]
    const stored = "inputs-first" as const;
    const turned = tensorSource("codes", [INPUTS, OUTPUTS]);
    const whole = float8Matrix(scale, [128, 128], { stored, shape: [INPUTS, OUTPUTS], codes: { ...turned, stored } });
    const all = expectedMatrix(
      [INPUTS, OUTPUTS],
      (i, o) => FLOAT8[CODES[i * OUTPUTS + o] ?? 0] ?? Number.NaN,
      (i, o) => scale.data[Math.floor(i / 128) * 3 + Math.floor(o / 128)] ?? Number.NaN,
    );
    const tensors = { codes: codes(CODES, [INPUTS, OUTPUTS]), scale };
    expect(await numbersOf(whole, tensors)).toEqual(all);
    const rows = await numbersOf({ kind: "rows", of: whole, start: 100, end: 200 }, tensors);
    expect(rows).toEqual(all.map((row) => row.slice(100, 200)));
  });
});

describe("a stack of FP8 matrices", () => {
  const [experts, outputs, inputs] = [3, 20, 136] as const;
  const data = bytesOf(experts * outputs * inputs);
  const number = (expert: number) => (o: number, i: number) =>
    FLOAT8[data[(expert * outputs + o) * inputs + i] ?? 0] ?? Number.NaN;

  test.each<[string, readonly number[], Scale["per"], (expert: number, o: number, i: number) => number]>([
    ["one scale for all", [1], [outputs, inputs], () => 0],
    ["a scale each", [experts], [outputs, inputs], (expert) => expert],
    ["a scale each, with axes", [experts, 1, 1], [outputs, inputs], (expert) => expert],
    ["a scale for each output", [experts, outputs, 1], [1, inputs], (expert, o) => expert * outputs + o],
    ["blocks", [experts, 1, 2], [128, 128], (expert, _o, i) => expert * 2 + Math.floor(i / 128)],
  ])("%s", async (_name, shape, per, at) => {
    const scale = randomTensor(shape, 8, 0.02);
    const whole: ScaledSource = {
      kind: "scaled",
      shape: [experts, outputs, inputs],
      stored: "outputs-first",
      codes: tensorSource("codes", [experts, outputs, inputs]),
      coding: "own-dtype",
      scales: [{ tensor: tensorSource("scale", shape), per, means: "factor" }],
    };
    const tensors = { codes: codes(data, whole.shape), scale };
    for (const index of [0, 2]) {
      const expert: WeightSource = { kind: "expert", of: whole, index };
      const all = expectedMatrix([outputs, inputs], number(index), (o, i) => scale.data[at(index, o, i)] ?? Number.NaN);
      expect(await numbersOf(expert, tensors)).toEqual(all);
      expect(await numbersOf({ kind: "rows", of: expert, start: 3, end: 9 }, tensors)).toEqual(all.slice(3, 9));
    }
  });
});

describe("FP4 (E2M1), two codes in a byte", () => {
  const [experts, outputs, inputs] = [2, 12, 96] as const;
  const data = bytesOf((experts * outputs * inputs) / 2, 0xff);
  const number = (expert: number) => (o: number, i: number) => {
    const at = (expert * outputs + o) * inputs + i;
    const byte = data[at >> 1] ?? 0;
    return e2m1(at % 2 === 0 ? byte & 15 : byte >> 4);
  };

  test("MXFP4: an exponent for 32 inputs, an expert, and every second of its outputs", async () => {
    const exponents = bytesOf(experts * outputs * 3).map((byte) => 118 + (byte % 20));
    const scale: StoredTensor = { type: "uint8", shape: [experts, outputs, 3], data: exponents };
    const whole: ScaledSource = {
      kind: "scaled",
      shape: [experts, outputs, inputs],
      stored: "outputs-first",
      codes: tensorSource("codes", [experts, outputs, 3, 16]),
      coding: "e2m1-pairs",
      scales: [{ tensor: tensorSource("scale", scale.shape), per: [1, 32], means: "exponent" }],
    };
    const tensors = { codes: { type: "uint8", shape: whole.codes.shape, data }, scale } as const;
    const expert: WeightSource = { kind: "expert", of: whole, index: 1 };
    const all = expectedMatrix(
      [outputs, inputs],
      number(1),
      (o, i) => 2 ** ((exponents[(outputs + o) * 3 + Math.floor(i / 32)] ?? 0) - 127),
    );
    expect(await numbersOf(expert, tensors)).toEqual(all);
    const everySecond: WeightSource = { kind: "interleaved", of: expert, groups: 6, start: 1, end: 2 };
    expect(await numbersOf(everySecond, tensors)).toEqual(all.filter((_, row) => row % 2 === 1));
  });

  test.each(["factor", "divisor"] as const)("NVFP4: an FP8 scale for 16 inputs, and a %s for all", async (means) => {
    const scales = bytesOf(outputs * 6).map((byte) => byte & 0x7f);
    const scale: StoredTensor = { type: E4M3, shape: [outputs, 6], data: scales };
    const global = randomTensor([1], 3, means === "factor" ? 0.003 : 3000);
    const whole: ScaledSource = {
      kind: "scaled",
      shape: [outputs, inputs],
      stored: "outputs-first",
      codes: tensorSource("codes", [outputs, inputs / 2]),
      coding: "e2m1-pairs",
      scales: [
        { tensor: tensorSource("scale", scale.shape), per: [1, 16], means: "factor" },
        { tensor: tensorSource("global", [1]), per: [outputs, inputs], means },
      ],
    };
    const codesOfFirst = data.subarray(0, (outputs * inputs) / 2);
    const tensors = { codes: { type: "uint8", shape: whole.codes.shape, data: codesOfFirst }, scale, global } as const;
    const all = expectedMatrix([outputs, inputs], number(0), (o, i) => {
      const factor = FLOAT8[scales[o * 6 + Math.floor(i / 16)] ?? 0] ?? Number.NaN;
      return Math.fround(means === "factor" ? factor * (global.data[0] ?? 0) : factor / (global.data[0] ?? 0));
    });
    expect(await numbersOf(whole, tensors)).toEqual(all);
    const some = await numbersOf({ kind: "rows", of: whole, start: 5, end: 9 }, tensors);
    expect(some).toEqual(all.slice(5, 9));
  });
});
