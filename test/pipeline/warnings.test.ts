// What a user is warned of, and what not.

import { describe, expect, test } from "vitest";
import type { OutputFormatName } from "../../src/checkpoint/output-formats.js";
import { layerNames } from "../../src/numerics/layer-names.js";
import type { LayerRange } from "../../src/numerics/ranges.js";
import { computeLayerScales } from "../../src/numerics/scales.js";
import { type WarningFacts, warningsOf } from "../../src/pipeline/warnings.js";

type PerPrompt = readonly number[];

/** Facts of a run of four prompts of equal length, by the absmax of each prompt. */
function factsOf(
  layers: readonly (readonly [k: PerPrompt, v: PerPrompt])[],
  changes: Partial<WarningFacts> = {},
): WarningFacts {
  const side = (perPrompt: PerPrompt) => ({
    absmax: Math.max(...perPrompt),
    perHead: [Math.max(...perPrompt)],
    perPrompt,
  });
  const ranges: LayerRange[] = layers.map(([k, v], layer) => ({ layer, k: side(k), v: side(v) }));
  const scales = ranges.map(({ layer, k, v }) =>
    computeLayerScales(layer, { k: k.absmax, v: v.absmax }, "float8_e4m3fn", 1),
  );
  return {
    ranges,
    scales,
    experts: [],
    format: "vllm",
    headroom: 1,
    rounds: undefined,
    tokens: [10, 10, 10, 10],
    truncatedPrompts: 0,
    sequenceLength: 2048,
    notMeasured: [],
    ...changes,
  };
}

const CALM: PerPrompt = [4, 4, 4, 4];
const SILENT: PerPrompt = [0, 0, 0, 0];
const calmLayer = [CALM, CALM] as const;

test("a sound run in a format that every engine of its kind reads has no warning", () => {
  expect(warningsOf(factsOf([calmLayer, calmLayer]))).toEqual([]);
});

test.each<[WarningFacts["notMeasured"], RegExp]>([
  [["image"], /^Only text was measured: K and V of image tokens may be larger\./],
  [["image", "audio"], /^Only text was measured: K and V of image and audio tokens may be larger\. .*--headroom/],
])("tokens that were not measured are one warning: %j", (notMeasured, message) => {
  expect(warningsOf(factsOf([calmLayer], { notMeasured }))).toEqual([expect.stringMatching(message)]);
});

describe("experts that no token of the prompts has reached", () => {
  const REMEDY =
    "computed no token of the prompts. What they would add is missing in the ranges of later layers: use more";
  test.each<[string, WarningFacts["experts"], string[]]>([
    ["are no warning where there are none", [{ layer: 0, tokens: [1, 2, 1] }], []],
    ["are counted in their layer", [{ layer: 3, tokens: [0, 7, 0] }], ["Layer 3: 2 of 3 experts"]],
    [
      "are counted in the layer that has most of them, and the others are named",
      [
        { layer: 0, tokens: [0, 7, 1] },
        { layer: 1, tokens: [4, 3, 1] },
        { layer: 2, tokens: [0, 0, 8] },
      ],
      ["Layers 0, 2, most in layer 2: 2 of 3 experts"],
    ],
  ])("%s", (_rule, experts, expected) => {
    const warnings = warningsOf(factsOf([calmLayer], { experts }));
    expect(warnings.map((warning) => warning.slice(0, warning.indexOf(` ${REMEDY}`)))).toEqual(expected);
  });
});

describe("a silent K or V", () => {
  test.each<[string, (readonly [PerPrompt, PerPrompt])[], string[]]>([
    ["is named with its layer", [calmLayer, [SILENT, CALM]], ["Layer 1: K is zero"]],
    [
      "is named by side",
      [
        [CALM, SILENT],
        [CALM, SILENT],
      ],
      ["Layers 0–1: V is zero"],
    ],
    ["gives a warning for each side", [[SILENT, SILENT]], ["Layer 0: K is zero", "Layer 0: V is zero"]],
  ])("%s", (_rule, layers, expected) => {
    const warnings = warningsOf(factsOf(layers));
    expect(warnings.map((warning) => warning.slice(0, warning.indexOf(" for every token")))).toEqual(expected);
  });
});

describe("a range that still rose in the last quarter of the tokens", () => {
  const rose = (warnings: string[]) => warnings.find((warning) => warning.includes("still rose"));
  test.each<[string, readonly [PerPrompt, PerPrompt], readonly number[], string | undefined]>([
    ["by less than 5 % is no matter", [[4, 4, 4, 4.19], CALM], [10, 10, 10, 10], undefined],
    ["by more is", [[4, 4, 4, 4.4], CALM], [10, 10, 10, 10], "Layer 0: the absmax still rose by up to 10.0 %"],
    ["counts for V too", [CALM, [1, 2, 2, 3]], [10, 10, 10, 10], "by up to 50.0 %"],
    ["is no matter when it rose before", [[1, 2, 8, 8], CALM], [10, 10, 10, 10], undefined],
    ["is no matter when it fell", [[8, 8, 8, 1], CALM], [10, 10, 10, 10], undefined],
    ["quarters are of tokens, not of prompts", [[1, 9, 9, 9], CALM], [70, 10, 10, 10], "by up to 800.0 %"],
    ["a first prompt of nearly all tokens leaves nothing to compare", [[1, 9, 9, 9], CALM], [90, 4, 3, 3], undefined],
    ["a single prompt tells nothing", [[4], [4]], [10], undefined],
  ])("%s", (_rule, layer, tokens, expected) => {
    const warning = rose(warningsOf(factsOf([layer], { tokens })));
    if (expected === undefined) expect(warning).toBeUndefined();
    else expect(warning ?? "").toContain(expected);
  });

  test("names every layer once, and the largest rise", () => {
    const layers = [[[4, 4, 4, 5], CALM], calmLayer, [CALM, [4, 4, 4, 6]]] as const;
    expect(warningsOf(factsOf(layers))).toEqual([
      "Layers 0, 2: the absmax still rose by up to 50.0 % in the last quarter of the tokens. Give more prompts (--data, --samples) or --headroom auto.",
    ]);
  });
});

test("a rise is no matter where scales are for levels", () => {
  expect(warningsOf(factsOf([[[4, 4, 4, 8], CALM]], { headroom: "auto" }))).toEqual([]);
});

test.each([
  [
    "that found no end are a warning",
    false,
    [expect.stringMatching(/^--samples auto measured all 4 prompts, and more/)],
  ],
  ["that were enough are none", true, []],
])("rounds %s", (_rule, isEnough, warnings) => {
  expect(warningsOf(factsOf([calmLayer], { rounds: { of: 4, isEnough } }))).toEqual(warnings);
});

describe("one scale for K and V", () => {
  const unequal = (format: OutputFormatName, k: number) =>
    warningsOf(factsOf([[Array<number>(4).fill(k), CALM]], { format })).find((warning) =>
      warning.includes("powers of two"),
    );
  test.each<[string, OutputFormatName, number, boolean]>([
    ["costs too much when K is 20 times V", "tgi", 80, true],
    ["costs little when K is 16 times V", "tgi", 64, false],
    ["is nobody's scale in a format that keeps them apart", "tgi-separate", 8000, false],
    ["is nobody's scale in vllm's", "vllm", 8000, false],
  ])("%s", (_rule, format, k, warned) => {
    expect(unequal(format, k) !== undefined).toBe(warned);
  });

  test("is told in powers of two", () => {
    expect(unequal("tgi", 4 * 2 ** 6)).toContain("Layer 0: one kv_scale for both costs V up to 6.0 powers of two");
  });
});

test.each<OutputFormatName>(["tgi", "tgi-separate", "vllm"])("format %s alone is no warning", (format) => {
  expect(warningsOf(factsOf([calmLayer], { format }))).toEqual([]);
});

test.each<[number, string[]]>([
  [0, []],
  [1, ["1 prompt was cut to 512 tokens (--sequence-length)."]],
  [12, ["12 prompts were cut to 512 tokens (--sequence-length)."]],
])("%d cut prompts", (truncatedPrompts, expected) => {
  expect(warningsOf(factsOf([calmLayer], { truncatedPrompts, sequenceLength: 512 }))).toEqual(expected);
});

test("the most important come first", () => {
  const layers = [
    [[4, 4, 4, 80], CALM],
    [SILENT, CALM],
  ] as const;
  const warnings = warningsOf(factsOf(layers, { format: "tgi", truncatedPrompts: 2 }));
  const topics = ["is zero", "still rose", "powers of two", "cut to"];
  expect(warnings.map((warning) => topics.find((topic) => warning.includes(topic)))).toEqual(topics);
});

test.each<[readonly number[], string]>([
  [[3], "Layer 3"],
  [[3, 4], "Layers 3–4"],
  [[3, 5, 6, 7, 8], "Layers 3, 5–8"],
  [[0, 2, 4], "Layers 0, 2, 4"],
])("layers %j are called %s", (layers, name) => {
  expect(layerNames(layers)).toBe(name);
});
