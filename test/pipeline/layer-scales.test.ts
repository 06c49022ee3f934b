// What scales are for: the absmax and a factor, or levels of serving, and never levels that nobody knows.

import { expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { scaleNames, scaleTensors } from "../../src/checkpoint/output-formats.js";
import { CheckpointError, PromptDataError } from "../../src/errors.js";
import type { LayerForecast } from "../../src/numerics/layer-levels.js";
import type { LayerRange } from "../../src/numerics/ranges.js";
import { requireTextForLevels, scaleLayers } from "../../src/pipeline/layer-scales.js";
import { goldenFolder } from "../helpers/golden-checkpoints.js";

const AUTO = { dtype: "float8_e4m3fn", headroom: "auto" } as const;
const TOO_FEW: LayerForecast = { kind: "too-few", why: "expected 24 prompts or more, found 2" };

function rangesOf(layers: readonly number[], [k, v]: readonly [number, number]): LayerRange[] {
  const side = (absmax: number) => ({ absmax, perHead: [absmax], perPrompt: [absmax] });
  return layers.map((layer) => ({ layer, k: side(k), v: side(v) }));
}

function levelsOf(layers: readonly number[], [k, v]: readonly [number, number]): LayerForecast {
  const side = (level: number) => ({ measured: level / 2, level, interval: [level, level] as const, exceeding: 1 });
  return { kind: "levels", layers: layers.map((layer) => ({ layer, k: side(k), v: side(v) })), shape: 0 };
}

test.each([
  ["the absmax", 1, { kScale: 1, vScale: 0.25, kvScale: 1 }],
  ["the absmax and its factor", 2, { kScale: 2, vScale: 0.5, kvScale: 2 }],
  ["the levels, which are for the shared scale, too", "auto", { kScale: 1.5, vScale: 3, kvScale: 3 }],
] as const)("scales hold %s", (_what, headroom, scales) => {
  const [ranges, levels] = [rangesOf([5], [448, 112]), levelsOf([5], [672, 1344])];
  expect(scaleLayers(ranges, levels, { ...AUTO, headroom })).toEqual([{ layer: 5, ...scales }]);
});

test("a silent side has the scale 1, by levels, too", () => {
  expect(scaleLayers(rangesOf([0], [0, 1]), levelsOf([0], [0, 448]), AUTO)).toEqual([
    { layer: 0, kScale: 1, vScale: 1, kvScale: 1 },
  ]);
});

test("a factor needs no levels; without any, auto is refused with what was expected, and what was found", () => {
  const ranges = rangesOf([0], [448, 448]);
  expect(scaleLayers(ranges, TOO_FEW, { ...AUTO, headroom: 1 })).toHaveLength(1);
  expect(() => scaleLayers(ranges, TOO_FEW, AUTO)).toThrow(PromptDataError);
  expect(() => scaleLayers(ranges, TOO_FEW, AUTO)).toThrow(
    "--headroom auto: too little text to tell what serving exceeds: expected 24 prompts or more, found 2. Give more prompts",
  );
});

test("what the lengths alone refuse is refused before anything is measured, and only for auto", () => {
  expect(() => requireTextForLevels([4], AUTO)).toThrow(PromptDataError);
  expect(() => requireTextForLevels(Array<number>(24).fill(10), AUTO)).toThrow(
    "expected 1000 tokens or more, found 240",
  );
  expect(() => requireTextForLevels(Array<number>(24).fill(100), AUTO)).not.toThrow();
  expect(() => requireTextForLevels([4], { headroom: 1 })).not.toThrow();
});

test("an absmax that no float32 scale holds is an error that names the layer", () => {
  const scale = () => scaleLayers(rangesOf([7], [1e300, 1]), TOO_FEW, { ...AUTO, headroom: 1 });
  expect(scale).toThrow(CheckpointError);
  expect(scale).toThrow("Layer 7: no scale can be computed: absmax of K 1e+300, of V 1");
});

test("layers that read the cache of another have the scales of its levels", async () => {
  const checkpoint = await openCheckpoint(goldenFolder("gemma3n_text-shared"));
  const sites = cacheSites(describeModel(checkpoint.config, checkpoint.tensors));
  const shared = sites.find(({ sharedBy }) => sharedBy.length > 0);
  const layers = sites.map(({ layer }) => layer);
  const scales = scaleLayers(rangesOf(layers, [1, 1]), levelsOf(layers, [448, 224]), AUTO);
  const tensors = scaleTensors("vllm", scales, scaleNames(sites));
  for (const name of [shared?.name, ...(shared?.sharedBy.map((reader) => reader.name) ?? [])]) {
    const own = tensors.filter((tensor) => tensor.name.startsWith(`${name}.`)).map(({ values }) => values[0]);
    expect(own).toEqual([1, 0.5]);
  }
});
