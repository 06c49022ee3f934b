// The plots of a verification as data: which series, in which order, against which limits, and what is said about them.

import { describe, expect, test } from "vitest";
import type { VerifyResult } from "../../src/pipeline/verify-result.js";
import type { Plot } from "../../src/report/plot.js";
import { undrawnSentences } from "../../src/report/plot-series.js";
import { effectPlotGroup, positionPlotGroup } from "../../src/report/verify-kl-plots.js";
import { layerPlotGroups, layersText } from "../../src/report/verify-layer-plots.js";
import { ARMS, armOf, LAYERS, resultOf, VARIANTS, VERDICTS } from "./verify-fixture.js";

function groupOf(id: string, result: VerifyResult) {
  const group = layerPlotGroups(result).find((one) => one.id === id);
  if (group === undefined) throw new Error(`no group ${id}`);
  const [k, v] = group.plots as [Plot, Plot];
  return { ...group, k, v };
}

/** An fp8 arm with these keys' absmax, scale 2. */
function withKeys(absmax: readonly number[]): VerifyResult {
  const [usual] = LAYERS;
  if (usual === undefined) throw new Error("no layer");
  const layers = absmax.map((value, layer) => ({
    ...usual,
    layer,
    kScale: 2,
    vScale: 3,
    k: { ...usual.k, absmax: value },
  }));
  return resultOf({ arms: [armOf("16-bit"), { ...armOf("fp8"), layers }] });
}

test.each([
  [[3], "layer 3"],
  [[0, 1, 2, 5], "layers 0–2, 5"],
  [[1, 3, 4], "layers 1, 3–4"],
])("%j are %s", (layers, text) => {
  expect(layersText(layers)).toBe(text);
});

describe("absmax", () => {
  test("lies beside what the cache can hold: 448 times the scale, and 448 at scale 1.0", () => {
    const { k, v } = groupOf("absmax", withKeys([10, 900]));
    expect(k.series.map(({ style, values }) => [style, values])).toEqual([
      ["measured", [10, 900]],
      ["range", [896, 896]],
      ["range-at-1", [448, 448]],
    ]);
    expect(v.series[1]?.values).toEqual([1344, 1344]);
  });

  test("of E4M3FNUZ the largest value is 240", () => {
    const { k } = groupOf("absmax", { ...withKeys([10]), dtype: "float8_e4m3fnuz" });
    expect(k.series.map(({ values }) => values)).toEqual([[10], [480], [240]]);
  });

  test.each([
    [
      [10, 20, 30],
      ["Nothing is beyond 448, the limit at scale 1.0.", "Nothing is beyond the limit with the checkpoint's scales."],
    ],
    [
      [500, 600, 10],
      [
        "Beyond 448, the limit at scale 1.0: K in layers 0–1.",
        "Nothing is beyond the limit with the checkpoint's scales.",
      ],
    ],
    [
      [10, 900, 10],
      [
        "Beyond 448, the limit at scale 1.0: K in layer 1.",
        "Beyond the limit with the checkpoint's scales: K in layer 1.",
      ],
    ],
  ])("of keys %j: %j", (absmax, findings) => {
    expect(groupOf("absmax", withKeys(absmax)).findings).toEqual(findings);
  });

  test("without scales there is one limit", () => {
    const { k, findings } = groupOf(
      "absmax",
      resultOf({ scaleSource: undefined, arms: [armOf("16-bit"), armOf("fp8-at-1")] }),
    );
    expect(k.series.map(({ style }) => style)).toEqual(["measured", "range-at-1"]);
    expect(findings).toHaveLength(1);
  });
});

describe("every figure of the layers", () => {
  test.each(Object.entries(VARIANTS))(
    "%s: K and V on one axis, a text for every value, places within the axis",
    (_name, result) => {
      for (const { plots } of layerPlotGroups(result)) {
        expect(plots.map(({ title }) => title)).toEqual(["K", "V"]);
        expect(plots[0]?.y).toEqual(plots[1]?.y);
        for (const { x, y, series } of plots)
          for (const { values, texts } of series) {
            expect([values.length, texts.length]).toEqual([x.names.length, x.names.length]);
            for (const value of values)
              if (value !== null) expect([y.low <= value, value <= y.high]).toEqual([true, true]);
          }
      }
    },
  );

  test("the judged arm comes first, then those to compare it with", () => {
    expect(groupOf("sqnr", resultOf()).k.series.map(({ label }) => label)).toEqual([
      "fp8",
      "fp8-at-1",
      "e5m2",
      "16-bit",
    ]);
    const without = resultOf({ scaleSource: undefined, arms: ARMS.filter(({ name }) => name !== "fp8") });
    expect(groupOf("saturated", without).k.series.map(({ label }) => label)).toEqual(["fp8-at-1", "e5m2"]);
  });

  test("the worst layer is named: NaN before all, nothing as nothing", () => {
    const result = resultOf();
    expect(groupOf("sqnr", result).findings).toEqual([
      "Lowest in the fp8 cache: K NaN dB in layer 3; V -3.3 dB in layer 2.",
    ]);
    expect(groupOf("saturated", result).findings).toEqual([
      "Most in the fp8 cache: K 2.00 % in layer 1; V 100.00 % in layer 3.",
    ]);
    const clean = resultOf({ arms: [armOf("16-bit"), { ...armOf("fp8"), layers: LAYERS.slice(0, 1) }] });
    expect(groupOf("saturated", clean).findings).toEqual(["Nothing in the fp8 cache."]);
  });

  test("what is not finite is not drawn, and said", () => {
    const { k } = groupOf("sqnr", resultOf({ arms: [armOf("16-bit"), armOf("fp8")] }));
    expect(k.series[0]?.values).toEqual([31.52, 8.2, null, null]);
    expect(k.series[0]?.texts).toEqual(["31.5 dB", "8.2 dB", "∞ dB", "NaN dB"]);
    expect(undrawnSentences([k])).toContain("Not drawn: K, fp8, layer 2, 3 (∞ dB, NaN dB).");
  });

  test("0 lies at the low end of a logarithmic axis, and reads 0", () => {
    const { k, v } = groupOf("saturated", resultOf({ arms: [armOf("16-bit"), armOf("fp8")] }));
    expect([k.y.scale, k.y.zeroAtLow]).toEqual(["linear", false]);
    const flushed = groupOf("flushed", resultOf({ arms: [armOf("16-bit"), armOf("fp8")] }));
    expect([flushed.k.y.scale, flushed.k.y.zeroAtLow]).toEqual(["log", true]);
    expect(flushed.k.series[0]?.values[2]).toBe(flushed.k.y.low);
    expect(flushed.k.series[0]?.texts[2]).toBe("0.00 %");
    expect(v.series[0]?.texts[0]).toBe("0.00 %");
  });

  test("a description says what a reader of the plot would see", () => {
    expect(groupOf("absmax", withKeys([10, 900])).k.description).toBe(
      "K by layer. largest in the text: from 10.000 (Layer 0) to 900.00 (Layer 1). limit with the scales: 896.00. limit at scale 1.0 (448): 448.00.",
    );
  });
});

describe("KL divergence over positions", () => {
  test("has the arms but the baseline, and the limit", () => {
    const [plot] = positionPlotGroup(resultOf())?.plots ?? [];
    expect(plot?.series.map(({ label, values }) => [label, values])).toEqual([
      ["fp8", [0.002, 0.003]],
      ["fp8-at-1", [0.3, 0.5]],
      ["exact", [1e-5, 1e-5]],
      ["limit", [0.02, 0.02]],
    ]);
    expect(plot?.x.titles).toEqual(["Positions 0–63", "Positions 64–127"]);
  });

  test("without bins there is no plot", () => {
    expect(positionPlotGroup(resultOf({ positionBins: [] }))).toBeUndefined();
  });
});

describe("each layer alone", () => {
  const effects = [0.001, 0.05, 0.002].map((meanKl, layer) => ({ layer, meanKl, perplexityRatio: 1, agreement: 1 }));

  test("layers to be kept in 16 bits are a series of their own", () => {
    const verdict = { ...VERDICTS["keep-layers-in-16-bits"], layers: [1] };
    const group = effectPlotGroup(resultOf({ layerEffects: effects, verdict }));
    expect(group?.plots[0]?.series.map(({ style, values }) => [style, values])).toEqual([
      ["measured", [0.001, null, 0.002]],
      ["kept", [null, 0.05, null]],
      ["limit", [0.02, 0.02, 0.02]],
    ]);
    expect(group?.findings).toContain("To be kept in 16 bits: layer 1.");
    expect(undrawnSentences(group?.plots ?? [])).toEqual([]);
  });

  test("a limit far above is said instead of drawn", () => {
    const group = effectPlotGroup(resultOf({ layerEffects: effects.slice(0, 1) }));
    expect(group?.plots[0]?.series.map(({ style }) => style)).toEqual(["measured"]);
    expect(group?.findings).toContain("The limit of all together, 0.0200 nats, lies far above.");
  });

  test("a layer whose cost is NaN is the costliest", () => {
    const broken = effects.map((effect) => (effect.layer === 2 ? { ...effect, meanKl: Number.NaN } : effect));
    const { findings, plots } = effectPlotGroup(resultOf({ layerEffects: broken })) ?? { findings: [], plots: [] };
    expect(findings[0]).toMatch(/^Layer 2 costs most: NaN; /);
    expect(undrawnSentences(plots)).toEqual(["Not drawn: Mean KL divergence, FP8 in this layer alone, layer 2 (NaN)."]);
  });

  test("unless it was measured there is no plot", () => {
    expect(effectPlotGroup(resultOf({ layerEffects: [] }))).toBeUndefined();
  });
});
