import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  OUTPUT_FORMATS,
  type OutputFormat,
  type OutputFormatName,
  scaleNames,
  scaleTensors,
} from "../../src/checkpoint/output-formats.js";
import { FLOAT8_FORMATS } from "../../src/numerics/float8.js";
import { computeLayerScales } from "../../src/numerics/scales.js";

const SCALES = [
  { layer: 0, kScale: 0.5, vScale: 0.25, kvScale: 0.5 },
  { layer: 2, kScale: 1, vScale: 4, kvScale: 4 },
];
const NAMES = scaleNames(
  ["model.layers.0.self_attn", "model.layers.1.self_attn", "model.language_model.layers.2.self_attn"].map(
    (name, layer) => ({ layer, name }),
  ),
);
const LAYER_0 = "model.layers.0.self_attn";
const LAYER_2 = "model.language_model.layers.2.self_attn";

const COMPRESSED_TENSORS = {
  quantization_config: {
    quant_method: "compressed-tensors",
    quantization_status: "frozen",
    format: "dense",
    config_groups: {},
    ignore: ["Linear"],
    kv_cache_scheme: { num_bits: 8, type: "float", strategy: "tensor", dynamic: false, symmetric: true },
  },
};

test.each<[name: OutputFormatName, tensors: [name: string, shape: number[], value: number][]]>([
  [
    "tgi",
    [
      [`${LAYER_0}.kv_scale`, [], 0.5],
      [`${LAYER_2}.kv_scale`, [], 4],
    ],
  ],
  [
    "tgi-separate",
    [
      [`${LAYER_0}.kv_scale`, [], 0.5],
      [`${LAYER_0}.k_scale`, [], 0.5],
      [`${LAYER_0}.v_scale`, [], 0.25],
      [`${LAYER_2}.kv_scale`, [], 4],
      [`${LAYER_2}.k_scale`, [], 1],
      [`${LAYER_2}.v_scale`, [], 4],
    ],
  ],
  [
    "vllm",
    [
      [`${LAYER_0}.k_scale`, [1], 0.5],
      [`${LAYER_0}.v_scale`, [1], 0.25],
      [`${LAYER_2}.k_scale`, [1], 1],
      [`${LAYER_2}.v_scale`, [1], 4],
    ],
  ],
])("the tensors of %s", (name, expected) => {
  const tensors = scaleTensors(name, SCALES, NAMES);
  expect(tensors.map(({ name, shape, values }) => [name, [...shape], ...values])).toEqual(expected);
});

test.each<[name: OutputFormatName, config: unknown]>([
  ["tgi", { kv_cache_torch_dtype: "float8_e4m3fn" }],
  ["tgi-separate", { kv_cache_torch_dtype: "float8_e4m3fn" }],
  ["vllm", COMPRESSED_TENSORS],
])("what %s says in config.json", (name, expected) => {
  expect(OUTPUT_FORMATS[name].config("float8_e4m3fn")).toEqual(expected);
});

test.each<OutputFormatName>(["tgi", "tgi-separate"])("%s says float8_e4m3fnuz in config.json", (name) => {
  expect(OUTPUT_FORMATS[name].config("float8_e4m3fnuz")).toEqual({ kv_cache_torch_dtype: "float8_e4m3fnuz" });
});

describe.each(Object.keys(OUTPUT_FORMATS) as OutputFormatName[])("every format, and so %s,", (name) => {
  const format: OutputFormat = OUTPUT_FORMATS[name];
  const suffixes = Object.keys(format.tensors({ layer: 0, kScale: 1, vScale: 1, kvScale: 1 }));

  test("uses names that engines read: kv_scale, or k_scale with v_scale", () => {
    expect(["kv_scale", "k_scale,v_scale", "k_scale,kv_scale,v_scale"]).toContain([...suffixes].sort().join());
  });

  test("never has kv_scale beside a quantization_config, which would overwrite k_scale in vLLM", () => {
    for (const dtype of format.dtypes) {
      expect(suffixes.includes("kv_scale") && "quantization_config" in format.config(dtype)).toBe(false);
    }
  });

  test("with k_scale and v_scale of one element for vLLM, has the shape [1] that old transformers needs", () => {
    const hasBlock = "quantization_config" in format.config("float8_e4m3fn");
    expect([...format.shape]).toEqual(hasBlock ? [1] : []);
  });

  test("writes finite positive float32 of its shape, whatever was measured", () => {
    const absmax = fc.oneof(fc.constantFrom(0, 1e-45, 448, 3.4e38), fc.double({ min: 0, max: 3.4e38, noNaN: true }));
    fc.assert(
      fc.property(absmax, absmax, fc.constantFrom(...format.dtypes), (k, v, dtype) => {
        const tensors = scaleTensors(name, [computeLayerScales(0, { k, v }, dtype, 1)], NAMES);
        for (const { shape, values } of tensors) {
          expect(values.length).toBe(shape.reduce((product, size) => product * size, 1));
          for (const value of values) expect(Number.isFinite(value) && value > 0).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  test("names its tensors after the attention of the layer, not its place in the list", () => {
    for (const { name: tensor } of scaleTensors(name, SCALES.slice(1), NAMES)) {
      expect(tensor.startsWith(`${LAYER_2}.`)).toBe(true);
    }
  });

  test("shares one scale exactly when it has no k_scale", () => {
    expect(format.sharesScale).toBe(!suffixes.includes("k_scale"));
  });

  test("says how to start each engine, and who must not read a kv_scale", () => {
    expect(format.engines.length).toBeGreaterThan(0);
    for (const { command } of format.engines) expect(command).toMatch(/ FOLDER .*fp8/);
    expect(format.convertTo !== undefined).toBe(suffixes.includes("kv_scale"));
  });

  test("gives a reason when a dtype is not offered", () => {
    expect(format.dtypes.length).toBeGreaterThan(0);
    expect(format.dtypeRule !== undefined).toBe(format.dtypes.length < Object.keys(FLOAT8_FORMATS).length);
  });
});
