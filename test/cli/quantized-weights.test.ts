// A checkpoint with FP8 weights, end to end: its scales are those of the same numbers in float32, and what engines do
// otherwise is said and on record.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { codeTable } from "../../src/numerics/cache-codes.js";
import { calibrationOf, type ExampleFolder, makeExample, SINGLE_FILE } from "../helpers/example-checkpoint.js";
import { SafetensorsFile } from "../helpers/example-checkpoint-safetensors.js";
import { runMain } from "../helpers/run-cli.js";
import { temporaryFolder } from "../helpers/run-cli-folders.js";

type Json = Record<string, unknown>;

const E4M3 = [...codeTable("float8_e4m3fn").subarray(0, 0x7f)];
const LARGEST = 448;
const FP8 = { quant_method: "fp8", activation_scheme: "static", weight_block_size: null };
const ACTIVATIONS = /Warning: The weights are quantized \(fp8\), and engines quantize what they/;

function readJson(...path: readonly string[]): Json {
  return JSON.parse(readFileSync(join(...path), "utf8")) as Json;
}

/** The code of the number that is nearest to x. */
function nearestCode(x: number): number {
  const distances = E4M3.map((value) => Math.abs(value - Math.abs(x)));
  return distances.indexOf(Math.min(...distances)) + (x < 0 ? 0x80 : 0);
}

function float32Bytes(values: Iterable<number>): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}

/** Where a checkpoint says that its weights are codes, and what stands beside them. */
const SAYS = {
  codes: { file: "config.json", scale: "weight_scale_inv", activations: "activation_scale" },
  "codes of ModelOpt": { file: "hf_quant_config.json", scale: "weight_scale", activations: "input_scale" },
} as const;

/** As ModelOpt's older versions export: config.json says nothing. */
const MODELOPT = { quant_algo: "FP8", kv_cache_quant_algo: null, exclude_modules: ["lm_head"] };

/** The example with projections in FP8, a scale for each; or with the numbers that these stand for, in float32. */
function quantizedExample(stored: keyof typeof SAYS | "numbers"): ExampleFolder {
  const example = makeExample(temporaryFolder());
  const path = join(example.model, SINGLE_FILE);
  const file = SafetensorsFile.parse(readFileSync(path));
  for (const [name, { shape, data }] of [...file.tensors]) {
    if (!name.endsWith("_proj.weight")) continue;
    const words = Array.from({ length: data.length / 2 }, (_, at) => data.readUInt16LE(2 * at));
    const weights = [...new Float32Array(Uint32Array.from(words, (word) => word << 16).buffer)];
    const scale = Math.fround(Math.max(...weights.map(Math.abs)) / LARGEST);
    const codes = weights.map((weight) => nearestCode(weight / scale));
    if (stored === "numbers") {
      const numbers = codes.map((code) => (E4M3[code & 0x7f] ?? Number.NaN) * (code < 0x80 ? scale : -scale));
      file.tensors.set(name, { dtype: "F32", shape, data: float32Bytes(numbers) });
      continue;
    }
    file.tensors.set(name, { dtype: "F8_E4M3", shape, data: Buffer.from(codes) });
    const beside = (part: string) => name.replace(/weight$/, part);
    file.tensors.set(beside(SAYS[stored].scale), { dtype: "F32", shape: [], data: float32Bytes([scale]) });
    file.tensors.set(beside(SAYS[stored].activations), { dtype: "F32", shape: [], data: float32Bytes([1]) });
  }
  writeFileSync(path, file.bytes());
  if (stored === "codes") {
    const config = readJson(example.model, "config.json");
    writeFileSync(join(example.model, "config.json"), JSON.stringify({ ...config, quantization_config: FP8 }));
  }
  if (stored === "codes of ModelOpt") {
    const content = { producer: { name: "modelopt", version: "0.23.0" }, quantization: MODELOPT };
    writeFileSync(join(example.model, SAYS[stored].file), JSON.stringify(content));
  }
  return example;
}

const options = ["--provider", "cpu", "--quiet"];

test("the scales of FP8 weights are those of the same numbers in float32; both are on record", async () => {
  const [codes, numbers] = [quantizedExample("codes"), quantizedExample("numbers")];
  const { exitCode, stdout } = await runMain([...calibrationOf(codes), "--provider", "cpu", "--json"]);
  expect(exitCode).toBe(0);
  const forms = ["FP8 with a scale for a matrix"];
  const weights = { quantized_weights: { method: "fp8", forms, engines_quantize_activations: true } };
  const shown = JSON.parse(stdout) as Json;
  expect(shown).toMatchObject(weights);
  expect(shown.warnings).toContainEqual(expect.stringMatching(/engines quantize what they/));
  const record = readJson(codes.output, "kv_scales.json");
  expect(record).toMatchObject(weights);

  expect(await runMain([...calibrationOf(numbers), ...options])).toMatchObject({ exitCode: 0 });
  const plain = readJson(numbers.output, "kv_scales.json");
  expect(plain).not.toHaveProperty("quantized_weights");
  const absmaxOf = ({ layers }: Json) => (layers as Json[]).flatMap((layer) => [layer.k_absmax, layer.v_absmax]);
  const deviations = absmaxOf(record).map((value, at) => Math.abs(Number(value) / Number(absmaxOf(plain)[at]) - 1));
  expect(Math.max(...deviations)).toBeLessThan(1e-5);
});

test("a result keeps codes, scales and quantization_config, can be verified, and its 16-bit cache is bfloat16", async () => {
  const example = quantizedExample("codes");
  expect(await runMain([...calibrationOf(example), ...options])).toMatchObject({ exitCode: 0 });
  expect(readJson(example.output, "config.json")).toMatchObject({ quantization_config: FP8 });
  const verification = ["verify", example.output, "--data", example.prompts, "--provider", "cpu", "--json"];
  const { exitCode, stdout } = await runMain(verification);
  const { arms, warnings, verdict } = JSON.parse(stdout) as Json;
  // The example's weights are random, which is what this verdict says.
  expect({ exitCode, verdict }).toMatchObject({ exitCode: 6, verdict: { name: "baseline-broken" } });
  expect(arms).toContainEqual(expect.objectContaining({ name: "16-bit", description: "bfloat16" }));
  expect(warnings).toContainEqual(expect.stringMatching(/engines quantize what they/));
});

test("codes that only hf_quant_config.json speaks of are calibrated, and the cache's part goes into that file", async () => {
  const [codes, numbers] = [quantizedExample("codes of ModelOpt"), quantizedExample("numbers")];
  const inFormat = [...options, "--format", "vllm"];
  expect(await runMain([...calibrationOf(codes), ...inFormat])).toMatchObject({ exitCode: 0 });
  expect(await runMain([...calibrationOf(numbers), ...options])).toMatchObject({ exitCode: 0 });
  const layersOf = (folder: string) => readJson(folder, "kv_scales.json").layers as Json[];
  for (const [at, { k_absmax, v_absmax }] of layersOf(codes.output).entries()) {
    const plain = layersOf(numbers.output)[at];
    expect(Number(k_absmax) / Number(plain?.k_absmax)).toBeCloseTo(1, 5);
    expect(Number(v_absmax) / Number(plain?.v_absmax)).toBeCloseTo(1, 5);
  }
  expect(readJson(codes.output, "hf_quant_config.json").quantization).toEqual({
    ...MODELOPT,
    kv_cache_quant_algo: "FP8",
  });
  expect(readJson(codes.output, "config.json")).toEqual(readJson(codes.model, "config.json"));
  const { stdout } = await runMain(["inspect", codes.output, "--json"]);
  const used = (JSON.parse(stdout) as { engines: Json[] }).engines.filter(({ use }) => use === "used");
  expect(used.map(({ engine }) => engine)).toEqual(["vllm", "sglang", "trtllm"]);
});

test("a dry run says how weights are quantized", async () => {
  const { stdout } = await runMain([...calibrationOf(quantizedExample("codes")), "--provider", "cpu", "--dry-run"]);
  expect(stdout).toMatch(/llama, FP8 with a scale for a\s+matrix/);
  expect(stdout).toMatch(ACTIVATIONS);
});

test("inspect names the method, and finds no fault in the scales of weights", async () => {
  const { stdout } = await runMain(["inspect", quantizedExample("codes").model]);
  expect(stdout).toContain("quantization_config: fp8\n\nNo KV scales: engines run an FP8 cache at 1.0.\n");
});
