// What all engines' rules have in common, over every engine and every layout; and that the formats of this program are read
// by the engines that they are for, over every model_type that is calibrated.

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { DROPPED_BY_SGLANG, VLLM_FAMILIES } from "../../src/checkpoint/engine-families.js";
import { ENGINE_NAMES, type EngineName } from "../../src/checkpoint/engine-names.js";
import { ENGINES, judgeScales } from "../../src/checkpoint/engine-rules.js";
import type { EngineVerdict } from "../../src/checkpoint/engine-verdicts.js";
import type { OutputFormatName } from "../../src/checkpoint/output-formats.js";
import { gatherScaleFacts, type ScaleFacts } from "../../src/checkpoint/scale-facts.js";
import { findScaleProblems } from "../../src/checkpoint/scale-problems.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { GOLDEN_NAMES } from "../helpers/golden-checkpoints.js";
import { writeGoldenResult } from "../helpers/golden-results.js";
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

async function resultOf(golden: string, format: OutputFormatName): Promise<ScaleFacts> {
  return gatherScaleFacts(await surveyCheckpoint(await writeGoldenResult(root(), golden, format)));
}

/** The engines that a format is for, and whether each has a scale of its own for V. */
const READERS: Readonly<Record<OutputFormatName, Partial<Record<EngineName, "shared" | "apart">>>> = {
  tgi: { "tgi-documented": "shared", tgi: "shared" },
  "tgi-separate": { "tgi-documented": "shared", tgi: "apart" },
  vllm: { vllm: "apart", sglang: "apart", tgi: "apart", transformers: "apart" },
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
function expectReads(engine: EngineName, facts: ScaleFacts, sides: "shared" | "apart" | undefined): void {
  const { use, why, layers } = judgeScales(engine, facts);
  const isAttn = [...facts.attentions.values()].some((name) => name.endsWith(".attn"));
  // Written as vLLM finds them, which the others do not.
  if (isAttn && facts.quantization !== undefined && engine !== "vllm") return;
  if (engine === "sglang" && DROPPED_BY_SGLANG.has(facts.modelType ?? "")) {
    expect({ use, why }).toEqual({ use: "ignored", why: expect.stringContaining("drops them") });
    return;
  }
  if (engine === "vllm" && VLLM_FAMILIES.get(facts.modelType ?? "") === "refuses") {
    expect({ use, why }).toEqual({ use: "refused", why: expect.stringContaining("has no place for") });
    return;
  }
  if (engine === "vllm" && !VLLM_FAMILIES.has(facts.modelType ?? "")) expect(use).toBe("unknown");
  else expect(use, `${engine}: ${why}`).toBe("used");
  for (const { k, v } of layers?.values() ?? []) {
    expect(k, `${engine}: ${why}`).toBeGreaterThan(0);
    // Of no golden result is a scale 1, which would be none.
    expect([k, v]).not.toContain(1);
    expect(v).toBe(sides === "shared" ? k : (k ?? 0) / 2);
  }
}
