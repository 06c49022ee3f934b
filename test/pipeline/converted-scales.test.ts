import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ScaleTensor } from "../../src/checkpoint/read-scales.js";
import type { Float8Name } from "../../src/numerics/float8.js";
import { computeLayerScales, type LayerScales } from "../../src/numerics/scales.js";
import { scalesFromRecord, scalesFromTensors } from "../../src/pipeline/converted-scales.js";
import type { ScaleRecord } from "../../src/pipeline/scale-record.js";

const dtype = fc.constantFrom<Float8Name>("float8_e4m3fn", "float8_e4m3fnuz");
const absmax = fc.record({
  k: fc.double({ min: 0, max: 1e4, noNaN: true }),
  v: fc.double({ min: 0, max: 1e4, noNaN: true }),
});
const headroom = fc.double({ min: 1, max: 16, noNaN: true });

function recordOf(ranges: readonly { k: number; v: number }[], of: Float8Name, factor: number): ScaleRecord {
  const layers = ranges.map(({ k, v }, layer) => ({ layer, k_absmax: k, v_absmax: v }));
  return { dtype: of, headroom: factor, layers, json: {} };
}

function tensorsOf(scales: readonly LayerScales[]): ScaleTensor[] {
  return scales.flatMap(({ layer, kScale, vScale, kvScale }) => {
    const rest = { attention: `a.${layer}`, form: "attention" as const, layer, file: "x", dtype: "F32", shape: [1] };
    return [
      { ...rest, name: `a.${layer}.k_scale`, kind: "k_scale", values: [kScale] },
      { ...rest, name: `a.${layer}.v_scale`, kind: "v_scale", values: [vScale] },
      { ...rest, name: `a.${layer}.kv_scale`, kind: "kv_scale", values: [kvScale] },
    ] as const;
  });
}

describe("from the record", () => {
  test("scales are what a calibration for the other dtype gives", () => {
    fc.assert(
      fc.property(fc.array(absmax, { minLength: 1 }), dtype, dtype, headroom, (ranges, from, to, factor) => {
        const before = ranges.map((range, layer) => computeLayerScales(layer, range, from, factor));
        const after = ranges.map((range, layer) => computeLayerScales(layer, range, to, factor));
        const layers = ranges.map((_, layer) => layer);
        const found = scalesFromRecord(recordOf(ranges, from, factor), tensorsOf(before), layers, from, to);
        expect(found).toEqual(after);
      }),
    );
  });

  const RANGES = [
    { k: 3, v: 2 },
    { k: 5, v: 1 },
  ];
  const RECORD = recordOf(RANGES, "float8_e4m3fn", 1);
  const SCALES = RANGES.map((range, layer) => computeLayerScales(layer, range, "float8_e4m3fn", 1));
  const convert = (record: ScaleRecord, tensors: readonly ScaleTensor[] = tensorsOf(SCALES)) =>
    scalesFromRecord(record, tensors, [0, 1], "float8_e4m3fn", "float8_e4m3fn");

  test("only when it fits", () => {
    expect(convert(RECORD)).toEqual(SCALES);
  });

  test.each<[string, ScaleRecord]>([
    ["is of another dtype", { ...RECORD, dtype: "float8_e4m3fnuz" }],
    ["has no headroom", { ...RECORD, headroom: undefined }],
    ["has another headroom", { ...RECORD, headroom: 1.5 }],
    ["has a headroom that no run allows", { ...RECORD, headroom: 0 }],
    ["lacks a layer", { ...RECORD, layers: RECORD.layers.slice(1) }],
    ["lacks an absmax", { ...RECORD, layers: [{ layer: 0, k_absmax: 3 }, ...RECORD.layers.slice(1)] }],
    ["has an absmax below zero", { ...RECORD, layers: RECORD.layers.map((entry) => ({ ...entry, k_absmax: -3 })) }],
    [
      "has an infinite absmax",
      { ...RECORD, layers: RECORD.layers.map((entry) => ({ ...entry, k_absmax: Number.POSITIVE_INFINITY })) },
    ],
  ])("not when it %s", (_, record) => {
    expect(convert(record)).toBeUndefined();
  });

  test("not when a tensor differs by its last bit", () => {
    const [first, ...rest] = tensorsOf(SCALES);
    const changed = { ...first, values: [Math.fround((first?.values?.[0] ?? 0) * (1 + 2 ** -23))] } as ScaleTensor;
    expect(convert(RECORD, [changed, ...rest])).toBeUndefined();
  });
});

describe("from the tensors", () => {
  const scaleValue = fc.float({ min: Math.fround(2 ** -100), max: Math.fround(2 ** 100), noNaN: true });

  test("E4M3FNUZ has twice the scale of E4M3FN, and back gives the same bits", () => {
    fc.assert(
      fc.property(scaleValue, scaleValue, (kScale, vScale) => {
        const source = "k_scale, v_scale" as const;
        const doubled = scalesFromTensors(
          { source, layers: [{ layer: 7, kScale, vScale }] },
          "float8_e4m3fn",
          "float8_e4m3fnuz",
        );
        expect(doubled).toEqual([
          { layer: 7, kScale: 2 * kScale, vScale: 2 * vScale, kvScale: 2 * Math.max(kScale, vScale) },
        ]);
        const back = scalesFromTensors({ source, layers: doubled }, "float8_e4m3fnuz", "float8_e4m3fn");
        expect(back).toEqual([{ layer: 7, kScale, vScale, kvScale: Math.max(kScale, vScale) }]);
      }),
    );
  });

  test("the smallest scale stays a normal float32", () => {
    const smallest = 2 ** -126;
    const layers = [{ layer: 0, kScale: smallest, vScale: 1 }];
    const [half] = scalesFromTensors({ source: "k_scale, v_scale", layers }, "float8_e4m3fnuz", "float8_e4m3fn");
    expect(half).toMatchObject({ kScale: smallest, vScale: 0.5 });
  });
});
