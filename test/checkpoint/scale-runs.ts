// A model of two layers in one file or in shards, runs that give it scales, and what engines must make of the result.

import { expect } from "vitest";
import { patchConfigText } from "../../src/checkpoint/config-text.js";
import type { Checkpoint } from "../../src/checkpoint/open-checkpoint.js";
import {
  OUTPUT_FORMATS,
  type OutputFormatName,
  scaleNames,
  scaleTensors,
} from "../../src/checkpoint/output-formats.js";
import type { CheckpointContent } from "../../src/checkpoint/write-checkpoint.js";
import type { Float8Name } from "../../src/numerics/float8.js";
import { safetensorsOf, weight } from "../helpers/safetensors-files.js";
import { type EngineName, type Reading, readByEngines } from "./engine-models.js";

export const CONFIG = '{\n  "model_type": "llama",\n  "rms_norm_eps": 1e-05\n}\n';
export const ATTENTION = ["model.layers.0.self_attn", "model.layers.1.self_attn"] as const;
const WEIGHTS = ATTENTION.map((name, layer) => weight(`${name}.k_proj.weight`, layer + 1));
const WEIGHT_NAMES = WEIGHTS.map(({ name }) => name);
export const INDEX = "model.safetensors.index.json";
export const FIRST = "model-00001-of-00002.safetensors";
export const SECOND = "model-00002-of-00002.safetensors";

export const SINGLE = {
  "config.json": CONFIG,
  "model.safetensors": safetensorsOf(WEIGHTS, { metadata: { format: "pt" } }),
};
export const SHARDED = {
  "config.json": CONFIG,
  [INDEX]: JSON.stringify({
    metadata: { total_size: 16, by: "someone" },
    weight_map: { [WEIGHT_NAMES[0] ?? ""]: FIRST, [WEIGHT_NAMES[1] ?? ""]: SECOND },
  }),
  [FIRST]: safetensorsOf(WEIGHTS.slice(0, 1)),
  [SECOND]: safetensorsOf(WEIGHTS.slice(1)),
};
export const SIDE_FILES = {
  "tokenizer.json": "{}",
  "tokenizer.model": "sp",
  LICENSE: "MIT",
  "modeling_x.py": "pass",
  "README.md": "#",
};
export const OTHER_WEIGHTS = {
  "pytorch_model.bin": "",
  "pytorch_model.bin.index.json": "",
  "consolidated.00.pth": "",
  "consolidated.safetensors": "",
  "training_args.pt": "",
  "model-Q4.gguf": "",
  "model.onnx": "",
  "flax_model.msgpack": "",
  "tf_model.h5": "",
  "rust_model.ot": "",
};

export interface Run {
  readonly format: OutputFormatName;
  readonly dtype: Float8Name;
  /** Scales of K and V by layer. */
  readonly scales: readonly (readonly [k: number, v: number])[];
}

export const TGI: Run = {
  format: "tgi",
  dtype: "float8_e4m3fn",
  scales: [
    [0.5, 0.25],
    [2, 4],
  ],
};
export const TGI_AGAIN: Run = {
  ...TGI,
  scales: [
    [8, 0.25],
    [16, 4],
  ],
};
export const TGI_FNUZ: Run = {
  ...TGI,
  dtype: "float8_e4m3fnuz",
  scales: [
    [1, 0.5],
    [4, 8],
  ],
};
export const SEPARATE: Run = {
  ...TGI,
  format: "tgi-separate",
  scales: [
    [32, 64],
    [128, 256],
  ],
};
export const VLLM: Run = {
  ...TGI,
  format: "vllm",
  scales: [
    [0.125, 0.75],
    [3, 5],
  ],
};
export const VLLM_AGAIN: Run = {
  ...VLLM,
  scales: [
    [6, 7],
    [9, 10],
  ],
};

export function contentOf({ format, dtype, scales }: Run, checkpoint: Checkpoint): CheckpointContent {
  const layers = scales.map(([kScale, vScale], layer) => ({
    layer,
    kScale,
    vScale,
    kvScale: Math.max(kScale, vScale),
  }));
  return {
    scales: scaleTensors(format, layers, scaleNames(ATTENTION.map((name, layer) => ({ layer, name })))),
    metadata: { format: "pt" },
    configText: patchConfigText(checkpoint.configText, checkpoint.config, OUTPUT_FORMATS[format].config(dtype)),
    sideTexts: new Map(),
    recordText: `${JSON.stringify({ tool: "create-kv-scales", format }, null, 2)}\n`,
  };
}

const WEIGHT_BYTES = Object.fromEntries(WEIGHTS.map(({ name, data }) => [name, Buffer.from(data).toString("hex")]));

/** The scales that an engine must get from a finished run. */
function expectedScales({ format, scales }: Run): Record<string, readonly [number, number]> {
  const perLayer = scales.map(([k, v]): readonly [number, number] =>
    format === "tgi" ? [Math.max(k, v), Math.max(k, v)] : [k, v],
  );
  return Object.fromEntries(ATTENTION.map((name, layer) => [name, perLayer[layer] ?? expect.fail(name)]));
}

/** Engines of the run's format read its scales, and those that do not know it refuse it or read none. */
export function expectFinished(folder: string, run: Run): void {
  const scales = expectedScales(run);
  const readings = readByEngines(folder, WEIGHT_NAMES);
  if (run.format === "vllm") {
    for (const reading of Object.values(readings))
      expect(reading).toEqual({ weights: WEIGHT_BYTES, scales, dtype: undefined });
    return;
  }
  expect(readings.tgi).toEqual({ weights: WEIGHT_BYTES, scales, dtype: run.dtype });
  expect(readings.vllm).toHaveProperty("refuses");
  expect(readings.transformers).toEqual({ weights: WEIGHT_BYTES, scales: {}, dtype: run.dtype });
}

/** Every engine refuses the folder, or reads the whole model with no scales, or with those of one of the runs. */
export function expectNotMisread(folder: string, runs: readonly Run[]): void {
  for (const [engine, reading] of Object.entries(readByEngines(folder, WEIGHT_NAMES)) as [EngineName, Reading][]) {
    if ("refuses" in reading) continue;
    expect(reading.weights, engine).toEqual(WEIGHT_BYTES);
    const sound = [...runs.filter(({ dtype }) => (reading.dtype ?? dtype) === dtype).map(expectedScales), {}];
    expect(sound, engine).toContainEqual(reading.scales);
  }
}
