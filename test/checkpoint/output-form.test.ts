// The form of a format beside quantized weights: which tensors, which keys, for which engines; and what is refused before
// anything is computed. The layouts are those that were judged by real engines.

import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { judgeScales } from "../../src/checkpoint/engine-rules.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { chooseOutputForm, type OutputForm } from "../../src/checkpoint/output-form.js";
import { type OutputFormatName, scaleNames, scaleTensors } from "../../src/checkpoint/output-formats.js";
import { gatherScaleFacts } from "../../src/checkpoint/scale-facts.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { writeNewCheckpoint } from "../../src/checkpoint/write-checkpoint.js";
import { writeInPlace } from "../../src/checkpoint/write-in-place.js";
import { UnsupportedModelError } from "../../src/errors.js";
import { decodeBits16, encodeBits16 } from "../../src/numerics/bits16.js";
import { temporaryFolder } from "../helpers/safetensors-files.js";
import { buildLayout, LAYERS, LAYOUTS, type LayoutName } from "./scale-layouts.js";

type Json = Record<string, unknown>;

const root = temporaryFolder();
const NAMES = scaleNames(
  Array.from({ length: LAYERS }, (_, layer) => ({ layer, name: `model.layers.${layer}.self_attn` })),
);
const SCALES = Array.from({ length: LAYERS }, (_, layer) => {
  const [kScale, vScale] = [0.1001 + layer, 0.2003 + layer].map(Math.fround) as [number, number];
  return { layer, kScale, vScale, kvScale: vScale };
});
const SCHEME = { num_bits: 8, type: "float", strategy: "tensor", dynamic: false, symmetric: true };
const MODELOPT_SCHEME = { dynamic: false, num_bits: 8, type: "float" };

interface Changes {
  /** Keys of the quantization_config. */
  readonly block?: Json;
  /** The whole config.json. */
  readonly config?: (config: Json) => Json;
  /** The quantization of hf_quant_config.json. */
  readonly modelOpt?: Json;
}

/** A checkpoint of a layout, in a folder of its own. */
function modelOf(layout: LayoutName, { block = {}, config = (json) => json, modelOpt }: Changes = {}): string {
  const folder = buildLayout(LAYOUTS[layout], mkdtempSync(join(root(), "model-")));
  const json = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as { quantization_config?: Json };
  const quantization = json.quantization_config && { quantization_config: { ...json.quantization_config, ...block } };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config({ ...json, ...quantization }), null, 2));
  if (modelOpt !== undefined) {
    const file = { producer: { name: "modelopt" }, quantization: modelOpt };
    writeFileSync(join(folder, "hf_quant_config.json"), JSON.stringify(file, null, 4));
  }
  return folder;
}

async function formOf(folder: string, format: OutputFormatName = "vllm"): Promise<OutputForm> {
  return chooseOutputForm(await openCheckpoint(folder), format, "float8_e4m3fn", NAMES);
}

function contentOf(form: OutputForm) {
  return {
    scales: scaleTensors(form.tensors, SCALES.map(form.written), NAMES),
    metadata: { format: "pt" },
    configText: form.configText,
    sideTexts: form.sideTexts,
    recordText: JSON.stringify({ tool: "create-kv-scales" }),
  };
}

/** Writes the form as a new folder. */
async function write(folder: string, form: OutputForm): Promise<string> {
  const output = join(root(), "result");
  await writeNewCheckpoint(await openCheckpoint(folder), output, contentOf(form), { force: false });
  return output;
}

function jsonIn(folder: string, file: string): Json {
  return JSON.parse(readFileSync(join(folder, file), "utf8")) as Json;
}

/** A method, the engines that use the result, what its block gets, the names of scales, and the type they fit into. */
type Method = readonly [
  layout: LayoutName,
  engines: readonly string[],
  scheme: Json | undefined,
  tensor: string,
  keptIn: "float32" | "bfloat16",
];

const METHODS: readonly Method[] = [
  ["no scales, fp8 weights per tensor", ["vllm", "sglang", "tgi"], undefined, "k_scale", "bfloat16"],
  ["k and v, fp8 weights per block", ["vllm", "sglang", "tgi"], undefined, "k_scale", "bfloat16"],
  ["no scales, compressed int8 weights", ["vllm", "sglang", "tgi"], SCHEME, "k_scale", "float32"],
  ["k and v, compressed fp8 weights", ["vllm", "sglang", "tgi"], SCHEME, "k_scale", "float32"],
  ["k and v, compressed 4-bit weights", ["vllm", "sglang", "tgi"], SCHEME, "k_scale", "float32"],
  ["k and v, modelopt fp8 weights", ["vllm", "sglang"], MODELOPT_SCHEME, "k_proj.k_scale", "bfloat16"],
];

describe("--format vllm beside quantized weights", () => {
  test.each(METHODS)("%s: %s use it", async (layout, engines, scheme, tensor, keptIn) => {
    const folder = modelOf(layout, { block: scheme ? { kv_cache_scheme: null } : {} });
    const form = await formOf(folder);
    const output = await write(folder, form);
    const before = jsonIn(folder, "config.json").quantization_config as Json;
    expect(jsonIn(output, "config.json").quantization_config).toEqual({
      ...before,
      ...(scheme && { kv_cache_scheme: scheme }),
    });
    const facts = await gatherScaleFacts(await surveyCheckpoint(output));
    expect(facts.scales).toHaveLength(2 * LAYERS);
    expect(facts.scales.map(({ name }) => name)).toContain(`model.layers.3.self_attn.${tensor}`);
    for (const rule of engines) expect(judgeScales(rule as "vllm", facts).use, rule).toBe("used");
    expect(form.engines.map(({ rule }) => rule)).toEqual(expect.arrayContaining([...engines]));
    // What vLLM runs with is what was written, and no less than what was computed.
    const { layers } = judgeScales("vllm", facts);
    for (const { layer, kScale, vScale } of SCALES.map(form.written)) {
      expect(layers?.get(layer)).toEqual({ k: kScale, v: vScale });
      const fits = (value: number) => decodeBits16("bfloat16", encodeBits16("bfloat16", value)) === value;
      expect(fits(kScale) && fits(vScale)).toBe(keptIn === "bfloat16");
      expect(kScale).toBeGreaterThanOrEqual(SCALES[layer]?.kScale ?? Number.NaN);
      expect(kScale).toBeLessThanOrEqual((SCALES[layer]?.kScale ?? Number.NaN) * (1 + 2 ** -7));
    }
  });

  test("a scheme that says the same and more stays as it is", async () => {
    const theirs = { ...SCHEME, observer: "minmax", group_size: null };
    const folder = modelOf("no scales, compressed int8 weights", { block: { kv_cache_scheme: theirs } });
    expect((await formOf(folder)).configText).toBe(readFileSync(join(folder, "config.json"), "utf8"));
  });

  test("the block may stand in the text part of a multimodal model", async () => {
    const folder = modelOf("no scales, compressed int8 weights", {
      config: ({ quantization_config: block, ...config }) => ({
        model_type: "llava",
        text_config: { ...config, quantization_config: block },
      }),
    });
    const { text_config: text } = JSON.parse((await formOf(folder)).configText) as { text_config: Json };
    expect(text.quantization_config).toMatchObject({ kv_cache_scheme: SCHEME });
  });

  test("no block is put over weights whose quantization stands in hf_quant_config.json alone", async () => {
    const modelOpt = { quant_algo: "FP8", kv_cache_quant_algo: null, exclude_modules: ["lm_head"] };
    const folder = modelOf("no scales, fp8 weights per tensor", {
      config: ({ quantization_config: _, ...json }) => json,
      modelOpt,
    });
    const form = await formOf(folder);
    expect(JSON.parse(form.configText)).not.toHaveProperty("quantization_config");
    const output = await write(folder, form);
    expect(jsonIn(output, "hf_quant_config.json").quantization).toEqual({ ...modelOpt, kv_cache_quant_algo: "FP8" });
    expect(form.engines.map(({ rule }) => rule)).toContain("trtllm");
  });

  test.each<[name: string, layout: LayoutName, changes: Changes, says: RegExp]>([
    ["gptq", "no scales, gptq weights", {}, /vLLM does not use.*SGLang does not use.*--format tgi/],
    ["awq", "no scales, awq weights", {}, /vLLM refuses the result.*SGLang does not use/],
    [
      "a cache of 4 bits",
      "no scales, compressed int8 weights",
      { block: { kv_cache_scheme: { ...SCHEME, num_bits: 4 } } },
      /config\.json: quantization_config\.kv_cache_scheme: .*found \{"num_bits":4/,
    ],
    [
      "a cache per head",
      "no scales, compressed int8 weights",
      { block: { kv_cache_scheme: { ...SCHEME, strategy: "attn_head" } } },
      /a scale per tensor, found/,
    ],
    [
      "ModelOpt's NVFP4 cache",
      "k and v, modelopt fp8 weights",
      { block: { kv_cache_scheme: { ...MODELOPT_SCHEME, num_bits: 4 } } },
      /kv_cache_scheme/,
    ],
    [
      "a block that is no object",
      "no scales",
      { config: (json) => ({ ...json, quantization_config: "fp8" }) },
      /"fp8"/,
    ],
  ])("refuses %s", async (_, layout, changes, says) => {
    const folder = modelOf(layout, changes);
    await expect(formOf(folder)).rejects.toThrow(UnsupportedModelError);
    await expect(formOf(folder)).rejects.toThrow(says);
    // TGI reads its own formats whatever the weights are.
    expect((await formOf(folder, "tgi")).engines).toHaveLength(1);
  });

  test("warns of a method that is not known here, and of an engine that passes the scales over", async () => {
    const folder = modelOf("no scales, fp8 weights per tensor", {
      config: (json) => ({ ...json, model_type: "qwen2" }),
    });
    expect((await formOf(folder)).warnings).toEqual([expect.stringMatching(/^SGLang does not use.*39942/)]);
  });
});

describe("--format tgi beside quantized weights", () => {
  test("warns when vLLM would take kv_scale for K alone", async () => {
    const warnings = async (layout: LayoutName) => (await formOf(modelOf(layout), "tgi")).warnings;
    expect(await warnings("no scales, compressed int8 weights")).toEqual([expect.stringContaining("for K alone")]);
    expect(await warnings("no scales")).toEqual([]);
  });

  test("takes a scheme of this program out again", async () => {
    const folder = modelOf("no scales, compressed int8 weights", { block: { kv_cache_scheme: SCHEME } });
    const block = JSON.parse((await formOf(folder, "tgi")).configText).quantization_config;
    expect(block).not.toHaveProperty("kv_cache_scheme");
  });
});

test("in place, hf_quant_config.json promises scales after they are there, and no longer than they are", async () => {
  const modelOpt = { quant_algo: "FP8", kv_cache_quant_algo: null };
  const folder = modelOf("no scales, fp8 weights per tensor", {
    config: ({ quantization_config: _, ...json }) => json,
    modelOpt,
  });
  const add = async (format: OutputFormatName) => {
    const checkpoint = await openCheckpoint(folder);
    const form = await chooseOutputForm(checkpoint, format, "float8_e4m3fn", NAMES);
    await writeInPlace(checkpoint, contentOf(form), true);
    return jsonIn(folder, "hf_quant_config.json").quantization;
  };
  expect(await add("vllm")).toEqual({ ...modelOpt, kv_cache_quant_algo: "FP8" });
  const facts = await gatherScaleFacts(await surveyCheckpoint(folder));
  expect(judgeScales("trtllm", facts).use).toBe("used");
  expect(await add("tgi")).toEqual(modelOpt);
});
