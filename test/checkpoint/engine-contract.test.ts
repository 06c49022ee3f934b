// What all engines' rules have in common, over every engine and every layout; and that the formats of this program are read
// by the engines that they are for, over every model_type that is calibrated.

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel } from "../../src/architectures/registry.js";
import { patchConfigText } from "../../src/checkpoint/config-text.js";
import { VLLM_FAMILIES } from "../../src/checkpoint/engine-families.js";
import { ENGINE_NAMES, type EngineName } from "../../src/checkpoint/engine-names.js";
import { ENGINES, judgeScales } from "../../src/checkpoint/engine-rules.js";
import type { EngineVerdict } from "../../src/checkpoint/engine-verdicts.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import {
  OUTPUT_FORMATS,
  type OutputFormatName,
  scaleNames,
  scaleTensors,
} from "../../src/checkpoint/output-formats.js";
import { layOutCheckpoint } from "../../src/checkpoint/output-layout.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.js";
import { gatherScaleFacts, type ScaleFacts } from "../../src/checkpoint/scale-facts.js";
import { findScaleProblems } from "../../src/checkpoint/scale-problems.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { GOLDEN_NAMES, goldenFolder } from "../helpers/golden-checkpoints.js";
import { temporaryFolder } from "../helpers/safetensors-files.js";
import { buildLayout, LAYOUTS, type LayoutName } from "./scale-layouts.js";

const root = temporaryFolder();

async function factsOf(layout: LayoutName): Promise<ScaleFacts> {
  return gatherScaleFacts(await surveyCheckpoint(buildLayout(LAYOUTS[layout], join(root(), "checkpoint"))));
}

test("every engine has a rule under the name that the command line has for it", () => {
  expect(Object.keys(ENGINES)).toEqual(ENGINE_NAMES);
});

describe("every engine, on every layout", () => {
  test.each(Object.keys(LAYOUTS) as LayoutName[])("%s", async (layout) => {
    const facts = await factsOf(layout);
    for (const engine of ENGINE_NAMES) expectSound(judgeScales(engine, facts), facts);
  });
});

/** What holds of every verdict. */
function expectSound(verdict: EngineVerdict, { attentions, scales }: ScaleFacts): void {
  const { use, why, layers, onFnuz } = verdict;
  expect(why).toMatch(/^\S.*[^.\s]$/);
  if (scales.length === 0) expect(["none", "refused", "unknown"]).toContain(use);
  else expect(use).not.toBe("none");
  if (use === "refused") expect(layers).toBeUndefined();
  if (use === "used" || use === "ignored" || use === "none") {
    expect([...(layers?.keys() ?? [])]).toEqual([...attentions.keys()]);
  }
  // What is ignored leaves 1.0 or nothing; what is used is a number of a tensor for at least one side.
  const numbers = [...(layers?.values() ?? [])].flatMap(({ k, v }) => [k, v]);
  if (use === "ignored" || use === "none")
    expect(numbers.every((scale) => scale === 1 || scale === undefined)).toBe(true);
  if (use !== "used") expect(onFnuz).toBeUndefined();
}

test("no engine finds tensors whose names training code has changed", async () => {
  const facts = await factsOf("k and v [1], block");
  const foreignName = { name: "module.x", problem: "" };
  for (const engine of ENGINE_NAMES) {
    expect(judgeScales(engine, { ...facts, foreignName })).toEqual({
      use: "refused",
      why: 'it finds no tensor that is called "module.x"',
    });
  }
});

/** The golden checkpoint as a result in a format: its weights linked, scales of 0.25 for K and 0.125 for V. */
async function resultOf(golden: string, format: OutputFormatName): Promise<ScaleFacts> {
  const checkpoint = await openCheckpoint(goldenFolder(golden));
  const sites = cacheSites(describeModel(checkpoint.config, checkpoint.tensors));
  const scales = sites.map(({ layer }) => ({ layer, kScale: 0.25, vScale: 0.125, kvScale: 0.25 }));
  const tensors = scaleTensors(format, scales, scaleNames(sites));
  const { weights, scalesFile, indexText } = layOutCheckpoint(checkpoint, tensors);
  const folder = join(root(), `${golden}-${format}`);
  mkdirSync(folder);
  for (const { shard, name } of weights) symlinkSync(shard.path, join(folder, name));
  writeFileSync(join(folder, scalesFile), encodeSafetensors(tensors, {}));
  writeFileSync(join(folder, "model.safetensors.index.json"), indexText);
  const keys = OUTPUT_FORMATS[format].config("float8_e4m3fn");
  writeFileSync(join(folder, "config.json"), patchConfigText(checkpoint.configText, checkpoint.config, keys));
  return gatherScaleFacts(await surveyCheckpoint(folder));
}

/** The engines that a format is for, and what each runs K and V with. */
const READERS: Readonly<Record<OutputFormatName, Partial<Record<EngineName, readonly [k: number, v: number]>>>> = {
  tgi: { "tgi-documented": [0.25, 0.25], tgi: [0.25, 0.25] },
  "tgi-separate": { "tgi-documented": [0.25, 0.25], tgi: [0.25, 0.125] },
  vllm: { vllm: [0.25, 0.125], sglang: [0.25, 0.125], tgi: [0.25, 0.125], transformers: [0.25, 0.125] },
};

/** Golden names begin with the model_type: one of each, and those whose caches and layers are not one to one. */
const RESULTS = [
  ...new Map(GOLDEN_NAMES.map((name) => [name.split("-")[0], name])).values(),
  ...["gemma3n_text-shared", "gemma4_text-e-model", "gemma4_text-e-model-bare", "glm4_moe-next-layer"],
];

describe("what is written for a golden of every model_type is read as it was meant", () => {
  test.each([...new Set(RESULTS)])("%s", async (golden) => {
    for (const [format, readers] of Object.entries(READERS) as [OutputFormatName, (typeof READERS)["vllm"]][]) {
      const facts = await resultOf(golden, format);
      expect(findScaleProblems(facts), format).toEqual([]);
      for (const engine of Object.keys(readers) as EngineName[]) expectReads(engine, facts, readers[engine]);
    }
  });
});

/** A model_type that an engine treats otherwise is one that the table has, and is not called used. */
function expectReads(engine: EngineName, facts: ScaleFacts, expected: readonly [number, number] | undefined): void {
  const { use, why, layers } = judgeScales(engine, facts);
  const isAttn = [...facts.attentions.values()].some((name) => name.endsWith(".attn"));
  // Written as vLLM finds them, which the others do not.
  if (isAttn && facts.quantization !== undefined && engine !== "vllm") return;
  if (engine === "sglang" && ["qwen2", "qwen3_moe", "mixtral"].includes(facts.modelType ?? "")) {
    expect({ use, why }).toEqual({ use: "ignored", why: expect.stringContaining("drops them") });
    return;
  }
  if (engine === "vllm" && !VLLM_FAMILIES.has(facts.modelType ?? "")) expect(use).toBe("unknown");
  else expect(use, `${engine}: ${why}`).toBe("used");
  const read = new Set([...(layers?.values() ?? [])].map(({ k, v }) => `${k} ${v}`));
  expect([...read], `${engine}: ${why}`).toEqual([`${expected?.[0]} ${expected?.[1]}`]);
}
