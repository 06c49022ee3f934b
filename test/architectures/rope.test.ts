// RoPE is that of transformers to the last bit or so: what is off here is off in every key.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ModelConfig } from "../../src/architectures/model-config.js";
import {
  inverseFrequencies,
  type Rope,
  type RopeScaling,
  readRope,
  ropeAttentionFactor,
  ropeRegime,
  ropeTables,
} from "../../src/architectures/rope.js";
import { CheckpointError, UnsupportedModelError } from "../../src/errors.js";
import { type Json, readGolden } from "../helpers/golden-checkpoints.js";

interface GoldenRope {
  readonly name: string;
  readonly config: Json;
  readonly sequence_length: number;
  readonly inv_freq: readonly number[];
  readonly attention_factor: number;
}

const GOLDEN = readGolden<GoldenRope[]>("rope.json");
/** One unit in the last place of float32 is at most 1.2e-7 of the value. */
const TOLERANCE = 2e-7;

function readRopeOf(config: Json): Rope {
  const { head_dim, hidden_size, num_attention_heads } = config as Record<string, number>;
  return readRope(new ModelConfig(config), head_dim ?? Number(hidden_size) / Number(num_attention_heads));
}

function readScaling(config: Json): RopeScaling {
  return readRope(new ModelConfig(config), 64).scaling;
}

function deviation(found: number | undefined, expected: number): number {
  return Math.abs((found ?? Number.NaN) - expected) / expected;
}

describe("frequencies and attention factor are those of transformers", () => {
  test.each(GOLDEN)("$name", ({ config, sequence_length, inv_freq, attention_factor }) => {
    const rope = readRopeOf(config);
    const frequencies = inverseFrequencies(rope, sequence_length);
    expect(frequencies).toHaveLength(inv_freq.length);
    for (const [pair, expected] of inv_freq.entries()) {
      expect(deviation(frequencies[pair], expected), `pair ${pair}`).toBeLessThan(TOLERANCE);
    }
    expect(deviation(ropeAttentionFactor(rope), attention_factor)).toBeLessThan(1e-14);
  });
});

const LLAMA3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
const READ_LLAMA3 = {
  type: "llama3",
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalMaxPositions: 8192,
};
const YARN = { factor: 4, original_max_position_embeddings: 32768 };
const READ_YARN = {
  type: "yarn",
  factor: 4,
  originalMaxPositions: 32768,
  attentionFactor: 0.1 * Math.log(4) + 1,
  betaFast: 32,
  betaSlow: 1,
  truncate: true,
};
const LENGTHS = { max_position_embeddings: 131072 };

const SCALINGS: readonly [string, Json, object][] = [
  ["linear", { factor: 2.5 }, { type: "linear", factor: 2.5 }],
  ["dynamic", { factor: 2 }, { type: "dynamic", factor: 2, maxPositions: 131072 }],
  ["llama3", LLAMA3, READ_LLAMA3],
  ["yarn", YARN, READ_YARN],
];

describe.each(SCALINGS)("%s is read alike", (type, parameters, expected) => {
  test.each<[string, Json]>([
    [
      "from rope_parameters with rope_theta inside (transformers 5)",
      { rope_parameters: { rope_type: type, rope_theta: 5e5, ...parameters } },
    ],
    [
      "from rope_parameters with rope_theta outside",
      { rope_theta: 5e5, rope_parameters: { rope_type: type, ...parameters } },
    ],
    [
      "from rope_scaling with rope_type (transformers 4)",
      { rope_theta: 5e5, rope_scaling: { rope_type: type, ...parameters } },
    ],
    ["from rope_scaling with type (before that)", { rope_theta: 5e5, rope_scaling: { type, ...parameters } }],
    [
      "from rope_scaling with both, and rope_type decides",
      { rope_theta: 5e5, rope_scaling: { type: "su", rope_type: type, ...parameters } },
    ],
  ])("%s", (_rule, keys) => {
    expect(readRope(new ModelConfig({ ...LENGTHS, ...keys }), 64)).toEqual({
      theta: 5e5,
      dimensions: 64,
      scaling: expected,
    });
  });
});

describe("what is absent or null has the meaning it has in transformers", () => {
  test.each<[string, Json, Partial<Rope>]>([
    ["no key at all: 10000, unscaled", {}, { theta: 10000, scaling: { type: "default" } }],
    [
      "rope_scaling null: unscaled",
      { rope_theta: 5e5, rope_scaling: null },
      { theta: 5e5, scaling: { type: "default" } },
    ],
    ["an empty rope_parameters: unscaled", { rope_parameters: {} }, { theta: 10000, scaling: { type: "default" } }],
    ["rope_theta in both places: the inner one", { rope_theta: 1, rope_parameters: { rope_theta: 7 } }, { theta: 7 }],
    [
      "default ignores what other types use",
      { rope_parameters: { rope_type: "default", factor: 4 } },
      { scaling: { type: "default" } },
    ],
  ])("%s", (_rule, config, expected) => {
    expect(readRope(new ModelConfig(config), 64)).toMatchObject(expected);
  });

  test.each<[string, Json, object]>([
    [
      "factor null: the ratio of the two lengths",
      { ...YARN, factor: null },
      { factor: 4, attentionFactor: 0.1 * Math.log(4) + 1 },
    ],
    ["no original length: the length of the model", { factor: 4 }, { originalMaxPositions: 131072 }],
    [
      "attention_factor given: taken as it is",
      { ...YARN, attention_factor: 1.25, mscale: 2 },
      { attentionFactor: 1.25 },
    ],
    ["mscale alone: not used", { ...YARN, mscale: 2 }, { attentionFactor: READ_YARN.attentionFactor }],
    [
      "mscale_all_dim 0: not used",
      { ...YARN, mscale: 2, mscale_all_dim: 0 },
      { attentionFactor: READ_YARN.attentionFactor },
    ],
    ["mscale and mscale_all_dim equal: 1", { ...YARN, mscale: 0.7, mscale_all_dim: 0.7 }, { attentionFactor: 1 }],
    ["truncate null: false", { ...YARN, truncate: null }, { truncate: false }],
    ["a factor up to 1: attention factor 1", { ...YARN, factor: 1 }, { attentionFactor: 1 }],
  ])("yarn, %s", (_rule, parameters, expected) => {
    expect(readScaling({ ...LENGTHS, rope_parameters: { rope_type: "yarn", ...parameters } })).toMatchObject(expected);
  });

  test.each(["llama3", "yarn"])("%s, original length outside of the RoPE parameters: it wins", (type) => {
    const rope_parameters = { rope_type: type, ...LLAMA3 };
    const config = { ...LENGTHS, original_max_position_embeddings: 4096, rope_parameters };
    expect(readScaling(config)).toMatchObject({ originalMaxPositions: 4096 });
  });
});

describe("a key that is not understood is left over, to be refused with all others", () => {
  test.each<[string, Json, string[]]>([
    ["an unknown one", { rope_type: "linear", factor: 2, mystery: 1 }, ["rope_parameters.mystery"]],
    [
      "behind one of another type",
      { rope_type: "linear", factor: 2, beta_fast: 32, mystery: 1 },
      ["rope_parameters.mystery"],
    ],
    [
      "parameters per layer type",
      { full_attention: { rope_theta: 1e6 }, sliding_attention: {} },
      ["rope_parameters.full_attention"],
    ],
    ["partial rotation", { partial_rotary_factor: 0.5 }, ["rope_parameters.partial_rotary_factor"]],
    ["one of another type alone", { rope_type: "linear", factor: 2, beta_fast: 32 }, []],
    ["not finetuned, which no engine reads", { rope_type: "yarn", ...YARN, finetuned: true }, []],
  ])("%s", (_rule, rope_parameters, expected) => {
    const config = new ModelConfig({ rope_parameters });
    readRope(config, 64);
    expect(config.leftOver().map(({ path }) => path)).toEqual(expected);
  });

  test("partial rotation is read where the family has it", () => {
    for (const [config, dimensions] of [
      [{ partial_rotary_factor: 0.25 }, 16],
      [{ rope_parameters: { partial_rotary_factor: 0.75 } }, 48],
      [{}, 32],
    ] as const) {
      const read = new ModelConfig(config);
      expect(readRope(read, 64, { partial: 0.5 }).dimensions).toBe(dimensions);
      expect(read.leftOver()).toEqual([]);
    }
  });
});

describe("what would change K and is not understood is refused, and the message names it", () => {
  const scaled = (parameters: Json): Json => ({ ...LENGTHS, rope_parameters: parameters });
  test.each<[string, Json, typeof CheckpointError | typeof UnsupportedModelError, string]>([
    ["ntk", scaled({ rope_type: "ntk", factor: 4 }), UnsupportedModelError, '"ntk"'],
    ["a type named like a method of objects", scaled({ rope_type: "toString" }), UnsupportedModelError, '"toString"'],
    [
      "a factor that is missing",
      scaled({ rope_type: "linear" }),
      CheckpointError,
      "rope_parameters.factor: expected a positive number, found nothing",
    ],
    [
      "a factor that is a string",
      { rope_scaling: { type: "linear", factor: "2" } },
      CheckpointError,
      "rope_scaling.factor",
    ],
    [
      "a negative theta",
      { rope_theta: -1 },
      CheckpointError,
      "config.json: rope_theta: expected a positive number, found -1",
    ],
    [
      "mscale that is no number",
      scaled({ rope_type: "yarn", ...YARN, mscale: "x", mscale_all_dim: 1 }),
      CheckpointError,
      "rope_parameters.mscale",
    ],
    [
      "dynamic without the trained length",
      { rope_parameters: { rope_type: "dynamic", factor: 2 } },
      CheckpointError,
      "max_position_embeddings",
    ],
    [
      "rope_scaling that is a list",
      { rope_scaling: [] },
      CheckpointError,
      "rope_scaling: expected an object, found []",
    ],
    [
      "llama3 without low_freq_factor",
      scaled({ rope_type: "llama3", factor: 8, high_freq_factor: 4 }),
      CheckpointError,
      "low_freq_factor",
    ],
  ])("%s", (_rule, config, kind, message) => {
    const read = () => readRope(new ModelConfig(config), 64);
    expect(read).toThrow(kind);
    expect(read).toThrow(message);
  });
});

describe("tables", () => {
  const rope = (scaling: RopeScaling): Rope => ({ theta: 10000, dimensions: 16, scaling });
  const dynamic: RopeScaling = { type: "dynamic", factor: 2, maxPositions: 64 };
  const yarn = readScaling({ ...LENGTHS, rope_parameters: { rope_type: "yarn", ...YARN } });

  test.each([
    ["unscaled", rope({ type: "default" }), 1],
    ["yarn, whose attention factor multiplies both", rope(yarn), READ_YARN.attentionFactor],
  ])("hold the cosine and sine of the angle in float32, %s", (_rule, described, factor) => {
    const positions = 3000;
    const { cos, sin } = ropeTables(described, positions);
    const frequencies = inverseFrequencies(described, positions);
    let largest = 0;
    for (let position = 0; position < positions; position++) {
      for (const [pair, frequency] of frequencies.entries()) {
        const angle = Math.fround(position * frequency);
        const index = position * frequencies.length + pair;
        largest = Math.max(largest, Math.abs((cos[index] ?? Number.NaN) - factor * Math.cos(angle)));
        largest = Math.max(largest, Math.abs((sin[index] ?? Number.NaN) - factor * Math.sin(angle)));
      }
    }
    expect(cos).toHaveLength(positions * 8);
    expect(sin).toHaveLength(positions * 8);
    expect(largest).toBeLessThan(2e-7);
  });

  test("of the positions of a short prompt begin those of a longer one in the same regime", () => {
    const lengths = fc.tuple(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 200 }));
    const scalings = fc.constantFrom<RopeScaling>({ type: "default" }, { type: "linear", factor: 3 }, dynamic, yarn);
    fc.assert(
      fc.property(lengths, scalings, ([a, b], scaling) => {
        const [short, long] = [Math.min(a, b), Math.max(a, b)];
        fc.pre(ropeRegime(rope(scaling), short) === ropeRegime(rope(scaling), long));
        const begin = ropeTables(rope(scaling), long);
        expect(ropeTables(rope(scaling), short).cos).toEqual(begin.cos.subarray(0, short * 8));
        expect(ropeTables(rope(scaling), short).sin).toEqual(begin.sin.subarray(0, short * 8));
      }),
      { numRuns: 40 },
    );
  });

  test.each([
    ["two lengths within the trained positions share a regime", 3, 64, true],
    ["beyond them, each length is its own", 65, 66, false],
    ["the first length beyond differs from those within", 64, 65, false],
  ])("of dynamic scaling: %s", (_rule, a, b, same) => {
    expect(ropeRegime(rope(dynamic), a) === ropeRegime(rope(dynamic), b)).toBe(same);
  });
});
