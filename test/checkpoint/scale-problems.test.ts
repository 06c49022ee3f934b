import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { gatherScaleFacts, type ScaleFacts } from "../../src/checkpoint/scale-facts.js";
import { findScaleProblems, type ProblemKind } from "../../src/checkpoint/scale-problems.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { temporaryFolder } from "../helpers/safetensors-files.js";
import { buildLayout, LAYOUTS, type LayoutName } from "./scale-layouts.js";

const folder = temporaryFolder();

async function factsOf(layout: LayoutName): Promise<ScaleFacts> {
  return gatherScaleFacts(await surveyCheckpoint(buildLayout(LAYOUTS[layout], join(folder(), "checkpoint"))));
}

const PROBLEMS: readonly (readonly [LayoutName, readonly ProblemKind[]])[] = [
  ["no scales, block", ["block-without-scales"]],
  ["a layer without scales, block", ["missing-layer"]],
  ["k alone, block", ["lone-scale"]],
  ["v alone, block", ["lone-scale"]],
  ["a layer with k alone, block", ["lone-scale"]],
  ["scales of a layer that does not exist, block", ["unknown-layer"]],
  ["names of another attention, block", ["missing-layer", "unknown-layer"]],
  ["kv alone, block", ["kv-scale-beside-block"]],
  ["kv beside k and v, block", ["kv-scale-beside-block"]],
  ["file not in the index, block", ["file-not-in-index"]],
  ["kv in a file not in the index, no block", ["file-not-in-index"]],
  ["index with other names, block", []],
  ["twice in the index's files, block", ["duplicate-scale"]],
  ["k and v [2], block", ["wrong-shape"]],
  ["k and v I32, block", ["wrong-dtype"]],
  ["k and v NaN, block", ["not-positive"]],
  ["k and v infinite, block", ["not-positive"]],
  ["k and v negative, block", ["not-positive"]],
  ["k and v zero, block", ["not-positive"]],
  ["k and v of value 1, block", ["all-one"]],
  ["k and v, block and fnuz dtype", ["dtype-contradicts-block"]],
  ["k and v, block of strategy attn_head", []],
];

describe("the problems of a checkpoint with", () => {
  test.each(PROBLEMS)("%s", async (layout, kinds) => {
    expect(findScaleProblems(await factsOf(layout)).map(({ kind }) => kind)).toEqual(kinds);
  });

  test("a file of scales that the index names and that is not there", async () => {
    const problems = findScaleProblems(await factsOf("file named but missing, block"));
    expect(problems.map(({ kind }) => kind)).toEqual(["block-without-scales", "index-contradicts-files"]);
  });
});

test.each<LayoutName>([
  "no scales",
  "kv [] and dtype, no block",
  "kv, k and v [] and dtype, no block",
  "k and v [1], block",
  "k and v, no block",
  "one file, block",
])("%s: no problem", async (layout) => {
  expect(findScaleProblems(await factsOf(layout))).toEqual([]);
});

test.each<[unknown, ProblemKind[]]>([
  [undefined, ["missing-cache-dtype"]],
  ["float8_e5m2", ["unknown-cache-dtype"]],
  [8, ["unknown-cache-dtype"]],
  ["float8_e4m3fnuz", []],
])("kv_scale with kv_cache_torch_dtype %j", async (kvCacheDtype, kinds) => {
  const facts = await factsOf("kv [] and dtype, no block");
  expect(findScaleProblems({ ...facts, kvCacheDtype }).map(({ kind }) => kind)).toEqual(kinds);
});

test("a message names the file, the tensor, and how many more there are", async () => {
  const [problem] = findScaleProblems(await factsOf("k and v [2], block"));
  expect(problem?.message).toBe(
    'model-kv-scales.safetensors: "model.layers.0.self_attn.k_scale" has shape [2] instead of one element (and 11 more like it).',
  );
});
