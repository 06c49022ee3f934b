// A hybrid from end to end: every command speaks of the layers that have a cache, by their numbers, and of no other.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { copyGolden, layersWithCache, temporaryFolder } from "../helpers/golden-checkpoints.js";
import { addLetterTokenizer } from "../helpers/letter-tokenizer.js";
import { runMain } from "../helpers/run-cli.js";
import { readTensors } from "../helpers/safetensors-files.js";

const PROMPTS = "the ferryman kept his accounts in chalk\nsalt acid fat heat\nab\n";

interface Layered {
  readonly layers: readonly { readonly layer: number }[];
}

interface Calibrated extends Layered {
  readonly warnings: readonly string[];
}

interface Inspected extends Layered {
  readonly problems: readonly unknown[];
  readonly engines: readonly { readonly engine: string; readonly use: string; readonly why: string }[];
}

interface Planned {
  readonly computes: { readonly layers: number };
}

interface Verified {
  readonly arms: readonly Layered[];
  readonly layer_effects: readonly { readonly layer: number }[];
}

const numbersOf = (layers: readonly { readonly layer: number }[]) => layers.map(({ layer }) => layer);

async function jsonOf<Result>(exitCodes: readonly number[], ...args: readonly string[]): Promise<Result> {
  const { exitCode, stdout, stderr } = await runMain([...args, "--json"]);
  expect(exitCodes, stderr).toContain(exitCode);
  return JSON.parse(stdout) as Result;
}

// Its last layer has no cache, and is not computed for a calibration.
const NAME = "lfm2-bias";

test("a hybrid has scales on its layers with a cache alone, and every command says so", async () => {
  const layers = layersWithCache(NAME);
  expect(layers).toEqual([0, 2]);
  const model = await copyGolden(NAME);
  addLetterTokenizer(model);
  const prompts = join(model, "prompts.txt");
  writeFileSync(prompts, PROMPTS);
  const root = await temporaryFolder();
  const [output, apart] = [join(root, "tgi"), join(root, "apart")];
  const data = ["--data", prompts, "--provider", "cpu"];

  const planned = await jsonOf<Planned>([0], model, "-o", output, ...data, "--dry-run");
  expect(planned.computes.layers).toBe(3);
  const calibrated = await jsonOf<Calibrated>([0], model, "-o", output, ...data);
  expect(numbersOf(calibrated.layers)).toEqual(layers);
  expect(calibrated.warnings.join("\n")).toContain('vLLM 0.32 does not load a checkpoint of model_type "lfm2"');
  const scales = readTensors(readFileSync(join(output, "model-00002-of-00002.safetensors")));
  expect([...scales.keys()].sort()).toEqual(layers.map((layer) => `model.layers.${layer}.self_attn.kv_scale`));

  const inspected = await jsonOf<Inspected>([0], "inspect", output);
  expect(numbersOf(inspected.layers)).toEqual(layers);
  expect(inspected.problems).toEqual([]);
  const uses = Object.fromEntries(inspected.engines.map(({ engine, use }) => [engine, use]));
  expect(uses).toMatchObject({ tgi: "used", vllm: "refused", sglang: "ignored" });

  const converted = await jsonOf<Layered>([0], "convert", output, "--format", "tgi-separate", "-o", apart);
  expect(numbersOf(converted.layers)).toEqual(layers);
  const difference = await jsonOf<Layered>([0], "diff", output, apart, "--engine", "tgi");
  expect(numbersOf(difference.layers)).toEqual(layers);

  // So short a text decides nothing: that is what the exit code says.
  const verified = await jsonOf<Verified>([8], "verify", apart, ...data, "--per-layer");
  for (const arm of verified.arms) expect(numbersOf(arm.layers)).toEqual(layers);
  expect(numbersOf(verified.layer_effects)).toEqual(layers);
});
