// Our verdicts beside what engines did. Observed with vLLM 0.32.0 on the CPU (kv_cache_dtype fp8, bfloat16; the scales of
// its attention layers after loading, equal to those its cache kernel was called with where a token was made) and with
// transformers 5.19.0 with compressed-tensors 0.17.0 (the buffers of its attention modules), on the layouts of
// scale-layouts.ts. TGI was not run.

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { EngineName } from "../../src/checkpoint/engine-names.js";
import { ENGINES } from "../../src/checkpoint/engine-rules.js";
import type { EngineVerdict, SideScale } from "../../src/checkpoint/engine-verdicts.js";
import { gatherScaleFacts, type ScaleFacts } from "../../src/checkpoint/scale-facts.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { temporaryFolder } from "../helpers/safetensors-files.js";
import { buildLayout, LAYERS, LAYOUTS, type LayoutName, VALUE } from "./scale-layouts.js";

const folder = temporaryFolder();

async function factsOf(layout: LayoutName): Promise<ScaleFacts> {
  return gatherScaleFacts(await surveyCheckpoint(buildLayout(LAYOUTS[layout], join(folder(), "checkpoint"))));
}

async function verdictOf(engine: EngineName, layout: LayoutName): Promise<EngineVerdict> {
  return ENGINES[engine].judge(await factsOf(layout));
}

/** What K or V of all layers ran with: the tensors of a kind, one number, or memory that nobody wrote. */
type Side = "k" | "v" | "kv" | "k but 1 in layer 2" | "v but 1 in layer 2" | "unwritten" | number;
type Observed = readonly [layout: LayoutName, k: Side | "refuses", vOrReason: string | number];

function sideOf(side: Side): SideScale[] {
  return Array.from({ length: LAYERS }, (_, layer) => {
    if (typeof side === "number") return side;
    if (side === "unwritten") return undefined;
    const [kind, ...but] = side.split(" ");
    if (but.length > 0 && layer === 2) return 1;
    return VALUE[kind as keyof typeof VALUE](layer);
  });
}

/** Loads or not, and with which scales. */
function expectAgreement(verdict: EngineVerdict, [, k, v]: Observed): void {
  if (k === "refuses") {
    expect(verdict).toMatchObject({ use: "refused" });
    expect(verdict.layers).toBeUndefined();
    return;
  }
  const layers = [...(verdict.layers?.values() ?? [])];
  expect(layers.map((sides) => sides.k)).toEqual(sideOf(k));
  expect(layers.map((sides) => sides.v)).toEqual(sideOf(v as Side));
  const isUsed = [k, v].some((side) => ["k", "v", "kv"].includes(String(side).split(" ")[0] ?? ""));
  if (isUsed) expect(verdict.use).toBe("used");
}

const VLLM: readonly Observed[] = [
  ["no scales", 1, 1],
  ["no scales, block", 1, 1],
  ["k and v [1], block", "k", "v"],
  ["k and v 0-dim, block", "k", "v"],
  ["k and v [1,1], block", "k", "v"],
  ["k and v [2], block", "refuses", "Attempted to load weight (torch.Size([2])) into parameter (torch.Size([1]))"],
  ["k and v BF16, block", "k", "v"],
  ["k and v F16, block", "k", "v"],
  ["k and v F64, block", "k", "v"],
  ["k and v of value 1, block", 1, 1],
  // The next four load; NaN, negative and zero then fail on the first token: "k_scale must be positive for FP8 path".
  ["k and v NaN, block", Number.NaN, Number.NaN],
  ["k and v infinite, block", Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
  ["k and v negative, block", -0.5, -0.5],
  ["k and v zero, block", 0, 0],
  ["k alone, block", "k", 1],
  ["v alone, block", 1, "v"],
  ["kv alone, block", "kv", 1],
  ["kv beside k and v, block", "kv", "v"],
  ["kv after k and v, block", "kv", "v"],
  ["a layer without scales, block", "k but 1 in layer 2", "v but 1 in layer 2"],
  ["a layer with k alone, block", "k", "v but 1 in layer 2"],
  ["scales of a layer that does not exist, block", "refuses", "no module or parameter named 'layers.6'"],
  ["k_proj.k_scale and v_proj.v_scale, block", "k", "v"],
  ["names without model., block", "refuses", "no module or parameter named 'layers' in LlamaForCausalLM"],
  ["names of another attention, block", "refuses", "no module or parameter named 'layers.0.attention'"],
  ["kv [] and dtype, no block", "refuses", "no module or parameter named 'layers.0.self_attn.kv_scale'"],
  ["kv, k and v [] and dtype, no block", "refuses", "no module or parameter named 'layers.0.self_attn.k_scale'"],
  ["k and v, no block", "refuses", "no module or parameter named 'layers.0.self_attn.k_scale'"],
  ["k_proj.k_scale and v_proj.v_scale, no block", "refuses", "'QKVParallelLinear' object has no attribute 'data'"],
  ["k and v, block and dtype", "k", "v"],
  ["k and v, block and fnuz dtype", "k", "v"],
  ["file not in the index, block", 1, 1],
  ["file not in the index, no block", 1, 1],
  ["kv in a file not in the index, no block", 1, 1],
  ["index with other names, block", "k", "v"],
  ["file named but missing, block", "refuses", "Weight files referenced in index but missing"],
  ["twice in the index's files, block", 8, 8],
  ["one file, block", "k", "v"],
  ["one file and a file of scales without index, block", "k", "v"],
  ["one file beside an index that names the scales, block", "k", "v"],
  ["k and v, block without kv_cache_scheme", "k", "v"],
  ["k and v, block with kv_cache_scheme null", "k", "v"],
  ["k and v, block without symmetric", "refuses", "Only support symmetric scaling factor"],
  ["k and v, block of int8", "refuses", "Currently supported kv cache quantization is num_bits=8, type=float"],
  ["k and v, block of strategy channel", "refuses", "Invalid strategy for compressed-tensors KV cache"],
  ["k and v, block of strategy attn_head", "k", "v"],
  ["k and v, block that ignores nothing", "k", "v"],
  ["k and v, block that ignores lm_head", "k", "v"],
  ["k and v, block without config_groups", "k", "v"],
  ["k and v, block without quantization_status", "k", "v"],
  ["k and v, fp8", "k", "v"],
  ["kv alone, fp8", "kv", "kv"],
  ["v alone, fp8", "refuses", "AssertionError in process_weights_after_loading"],
  ["k alone, fp8", "k", "k"],
  ["kv beside k and v, fp8", "kv", "v"],
  ["a layer without scales, fp8", "k but 1 in layer 2", "v but 1 in layer 2"],
  ["k and v negative, fp8", 1, 1],
  ["k_proj.k_scale and v_proj.v_scale, modelopt", "k", "v"],
  ["attn.k_scale and attn.v_scale, block", "k", "v"],
  ["attn.k_scale beside k and v, block", "k", "v"],
  [
    "attn.k_scale and attn.v_scale, no block",
    "refuses",
    "no module or parameter named 'layers.0.self_attn.attn.k_scale'",
  ],
  ["attn.k_scale and attn.v_scale, fp8", "k", "v"],
  ["attn.k_scale and attn.v_scale, modelopt", "k", "v"],
  ["k_cache.scale and v_cache.scale, block", "k", "v"],
  ["k_cache.scale and v_cache.scale, no block", "refuses", "no module or parameter named 'layers.0.self_attn.k_cache'"],
  ["k_cache.scale and v_cache.scale, fp8", "k", "v"],
  [
    "k_proj.output_scale and v_proj.output_scale, block",
    "refuses",
    "'QKVParallelLinear' object has no attribute 'data'",
  ],
  ["k_proj.output_scale and v_proj.output_scale, no block", "refuses", "'QKVParallelLinear' object has no attribute"],
  ["k_proj.output_scale and v_proj.output_scale, modelopt", "refuses", "'QKVParallelLinear' object has no attribute"],
  ["k_proj.output_scale and v_proj.output_scale, fp8", "k", "v"],
  ["k_proj.output_scale beside k and v, fp8", "k", "v"],
  ["k_proj.output_scale and v_proj.output_scale, quark", "k", "v"],
  ["k_proj.output_scale and v_proj.output_scale, quark without a cache", "k", "v"],
  ["k_proj.output_scale alone, quark", "k", "k"],
  ["v_proj.output_scale alone, quark", "refuses", "AssertionError in process_weights_after_loading"],
  ["k and v, quark", "k", "v"],
  ["no scales, quark", 1, 1],
  [
    "k_proj.output_scale and v_proj.output_scale, quark of int8",
    "refuses",
    "supported kv cache quantization is fp8_e4m3",
  ],
  ["k_proj.output_scale and v_proj.output_scale, quark per channel", "refuses", "Expected qscheme: per_tensor"],
  ["k_proj.output_scale and v_proj.output_scale, quark without export", "refuses", "The export key should be included"],
  ["k_proj.k_scale and v_proj.v_scale, modelopt for the cache alone", "refuses", "Missing 'quant_algo'"],

  // Weights that are really quantized. Beside all but compressed-tensors the parameter has the type of the model.
  ["no scales, fp8 weights per tensor", 1, 1],
  ["k and v, fp8 weights per tensor", "k", "v"],
  ["k and v that bfloat16 rounds, fp8 weights per tensor", 0.10009765625, 0.10009765625],
  ["kv alone, fp8 weights per tensor", "kv", "kv"],
  ["k and v, fp8 weights per block", "k", "v"],
  ["no scales, compressed int8 weights", 1, 1],
  ["k and v, compressed int8 weights", "k", "v"],
  ["k and v, compressed int8 weights without kv_cache_scheme", "k", "v"],
  ["k and v, compressed fp8 weights", "k", "v"],
  ["k and v, compressed 4-bit weights", "k", "v"],
  ["k and v, modelopt fp8 weights", "k", "v"],
  ["k_proj.k_scale and v_proj.v_scale, modelopt fp8 weights", "k", "v"],
  ["no scales, gptq weights", 1, 1],
  ["k and v, gptq weights", 1, 1],
  ["kv alone, gptq weights", 1, 1],
  ["k_proj.k_scale and v_proj.v_scale, gptq weights", 1, 1],
  ["attn.k_scale and attn.v_scale, gptq weights", 1, 1],
  ["k_cache.scale and v_cache.scale, gptq weights", 1, 1],
  ["file not in the index, gptq weights", 1, 1],
  [
    "k_proj.output_scale and v_proj.output_scale, gptq weights",
    "refuses",
    "'QKVParallelLinear' object has no attribute",
  ],
  // It takes each module with floats alone for an unquantized one: self_attn, which has k_scale, with its projections.
  ["no scales, awq weights", 1, 1],
  ["k and v, awq weights", "refuses", "'QKVParallelLinear' object has no attribute 'data'"],
  ["kv alone, awq weights", "refuses", "'QKVParallelLinear' object has no attribute 'data'"],
  ["k and v, awq weights that name what is not quantized", 1, 1],
  ["k_proj.k_scale and v_proj.v_scale, awq weights", 1, 1],
  ["attn.k_scale and attn.v_scale, awq weights", 1, 1],
];

describe("vLLM 0.32 and our verdict agree on", () => {
  test.each(VLLM)("%s: %s, %s", async (...observed) => {
    expectAgreement(await verdictOf("vllm", observed[0]), observed);
  });

  test("every layout but that of integers, which it converts and we do not read", async () => {
    const judged = VLLM.map(([layout]) => layout);
    expect(Object.keys(LAYOUTS).filter((layout) => !judged.some((name) => name === layout))).toEqual([
      "k and v I32, block",
    ]);
    expect((await verdictOf("vllm", "k and v I32, block")).layers?.get(0)).toEqual({ k: undefined, v: undefined });
  });
});

const TRANSFORMERS: readonly Observed[] = [
  ["no scales", 1, 1],
  ["no scales, block", "unwritten", "unwritten"],
  ["k and v [1], block", "k", "v"],
  ["k and v 0-dim, block", "k", "v"],
  ["k and v [2], block", "k", "v"],
  ["k and v BF16, block", "k", "v"],
  ["k alone, block", "k", "unwritten"],
  ["v alone, block", "unwritten", "v"],
  ["kv alone, block", "unwritten", "unwritten"],
  ["kv beside k and v, block", "k", "v"],
  ["scales of a layer that does not exist, block", "k", "v"],
  ["k_proj.k_scale and v_proj.v_scale, block", "unwritten", "unwritten"],
  ["names without model., block", "k", "v"],
  ["names of another attention, block", "unwritten", "unwritten"],
  ["kv [] and dtype, no block", 1, 1],
  ["kv, k and v [] and dtype, no block", 1, 1],
  ["k and v, no block", 1, 1],
  ["file not in the index, block", "unwritten", "unwritten"],
  ["file not in the index, no block", 1, 1],
  ["index with other names, block", "k", "v"],
  ["file named but missing, block", "refuses", "FileNotFoundError"],
  ["twice in the index's files, block", 8, 8],
  ["one file, block", "k", "v"],
  ["one file and a file of scales without index, block", "unwritten", "unwritten"],
  ["one file beside an index that names the scales, block", "unwritten", "unwritten"],
  ["k and v, block without kv_cache_scheme", "refuses", "'NoneType' object has no attribute 'config_groups'"],
  ["k and v, block with kv_cache_scheme null", "refuses", "'NoneType' object has no attribute 'config_groups'"],
  ["k and v, block without symmetric", "k", "v"],
  ["k and v, block of int8", "k", "v"],
  ["k and v, block of strategy channel", "refuses", "Using channel strategy is not supported"],
  ["k and v, block of strategy attn_head", "k", "v"],
  ["k and v, block that ignores nothing", "k", "v"],
  ["k and v, block without config_groups", "refuses", "config_groups Input should be a valid dictionary"],
  ["k and v, block without quantization_status", "k", "v"],
  ["attn.k_scale and attn.v_scale, block", "unwritten", "unwritten"],
  ["attn.k_scale beside k and v, block", "k", "v"],
  ["attn.k_scale and attn.v_scale, no block", 1, 1],
  ["k_proj.output_scale and v_proj.output_scale, block", "unwritten", "unwritten"],
  ["k_proj.output_scale and v_proj.output_scale, no block", 1, 1],
  ["k_cache.scale and v_cache.scale, block", "unwritten", "unwritten"],
  ["k_cache.scale and v_cache.scale, no block", 1, 1],
];

describe("transformers 5.19 and our verdict agree on", () => {
  test.each(TRANSFORMERS)("%s: %s, %s", async (...observed) => {
    expectAgreement(await verdictOf("transformers", observed[0]), observed);
  });
});

/**
 * Not run: read in its loader (text_generation_server/layers/attention/kv_cache.py, layers/compressed_tensors/loader.py).
 */
const TGI: readonly Observed[] = [
  ["no scales", 1, 1],
  ["kv [] and dtype, no block", "kv", "kv"],
  ["kv, k and v [] and dtype, no block", "k", "v"],
  ["k and v, no block", "k", "v"],
  ["k and v [1], block", "k", "v"],
  ["k and v [2], block", "refuses", "Key and value scales must be scalar tensors."],
  ["k alone, block", 1, 1],
  ["kv beside k and v, block", "k", "v"],
  ["a layer with k alone, block", "k but 1 in layer 2", "v but 1 in layer 2"],
  ["file not in the index, block", "k", "v"],
  ["twice in the index's files, block", "refuses", "a key in two files is an error"],
  ["k and v, block that ignores nothing", "refuses", "Cannot find compressed-tensors target for prefix"],
  ["k and v, block that ignores lm_head", "refuses", "Cannot find compressed-tensors target for prefix"],
  ["k and v, block without config_groups", "refuses", "Cannot parse compressed-tensors configuration"],
  ["k and v, block without quantization_status", "refuses", "Model quantization was not finished"],
  ["attn.k_scale and attn.v_scale, block", 1, 1],
  ["k_proj.output_scale and v_proj.output_scale, block", 1, 1],
  ["k_cache.scale and v_cache.scale, block", 1, 1],
];

describe("TGI's loader and our verdict agree on", () => {
  test.each(TGI)("%s: %s, %s", async (...observed) => {
    expectAgreement(await verdictOf("tgi", observed[0]), observed);
  });
});

/** Not run: read in its loader (srt/model_loader/weight_utils.py, srt/models/llama.py). */
const SGLANG: readonly Observed[] = [
  ["no scales, block", 1, 1],
  ["k and v [1], block", "k", "v"],
  ["k_proj.k_scale and v_proj.v_scale, block", "k", "v"],
  ["scales of a layer that does not exist, block", "k", "v"],
  ["k and v, no block", 1, 1],
  ["attn.k_scale and attn.v_scale, block", 1, 1],
  ["k_cache.scale and v_cache.scale, block", 1, 1],
  [
    "k_proj.output_scale and v_proj.output_scale, block",
    "refuses",
    "KeyError: 'layers.0.self_attn.qkv_proj.output_scale'",
  ],
  [
    "k_proj.output_scale and v_proj.output_scale, fp8",
    "refuses",
    "KeyError: 'layers.0.self_attn.qkv_proj.output_scale'",
  ],
];

describe("SGLang's loader and our verdict agree on", () => {
  test.each(SGLANG)("%s: %s, %s", async (...observed) => {
    expectAgreement(await verdictOf("sglang", observed[0]), observed);
  });
});

/** Not run: read in its source (srt/layers/quantization/gptq/gptq.py, awq/awq.py, fp8.py). */
test.each([
  ["k and v, gptq weights", "ignored"],
  ["k and v, awq weights", "ignored"],
  ["k and v, fp8 weights per block", "used"],
  ["k and v, compressed 4-bit weights", "used"],
] as const)("SGLang: %s: %s", async (layout, use) => {
  expect(await verdictOf("sglang", layout)).toMatchObject({ use });
});

/** The three formats that this program writes, and what their descriptions promise. */
describe.each([
  ["tgi", "kv [] and dtype, no block", ["used", "used", "refused", "ignored", "ignored", "ignored"]],
  ["tgi-separate", "kv, k and v [] and dtype, no block", ["used", "used", "refused", "ignored", "ignored", "ignored"]],
  ["vllm", "k and v [1], block", ["ignored", "used", "used", "used", "ignored", "used"]],
] as const)("--format %s", (_, layout, uses) => {
  test("is used by the engines it is for", async () => {
    const facts = await factsOf(layout);
    expect(Object.values(ENGINES).map(({ judge }) => judge(facts).use)).toEqual(uses);
  });
});

test("a verdict on some layers alone says which stay at 1.0", async () => {
  const { why } = await verdictOf("vllm", "a layer with k alone, block");
  expect(why).toBe("reads k_scale and v_scale; V of layer 2 at 1.0 without an error");
});

test.each([
  ["k and v [1], block", "reads k_scale and v_scale"],
  ["attn.k_scale and attn.v_scale, block", "reads attn.k_scale and attn.v_scale"],
  ["k_proj.output_scale and v_proj.output_scale, quark", "reads k_proj.output_scale and v_proj.output_scale"],
] as const)("a verdict calls the scales by their names: %s", async (layout, why) => {
  expect((await verdictOf("vllm", layout)).why).toBe(why);
});

test("weights quantized by a method that is not known here leave the verdict open", async () => {
  const facts = await factsOf("k and v [1], block");
  const quantization = {
    method: "aqlm",
    file: "config.json",
    key: "quantization_config",
    block: { quant_method: "aqlm" },
    kvCacheScheme: undefined,
  } as const;
  const verdict = ENGINES.vllm.judge({ ...facts, quantization });
  expect(verdict).toEqual({ use: "unknown", why: expect.stringContaining('"aqlm"') });
});
