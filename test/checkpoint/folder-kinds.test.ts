// Whoever gives a folder that is no checkpoint with safetensors weights is told what it is, and what to do.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { surveyCheckpoint } from "../../src/checkpoint/survey-checkpoint.js";
import { CheckpointError } from "../../src/errors.js";
import { safetensorsOf, temporaryFolder, weight, writeFiles } from "../helpers/safetensors-files.js";

const root = temporaryFolder();

/** Names of files; with a slash at the end, of folders. What both readers say. */
const KINDS: readonly (readonly [names: readonly string[], says: readonly string[]])[] = [
  [[], ["config.json: not found", "the folder is empty"]],
  [[".cache/"], ["the folder is empty"]],
  [
    ["adapter_config.json", "adapter_model.safetensors"],
    ["an adapter (LoRA", "merge_and_unload()"],
  ],
  [
    ["config.json", "adapter_config.json", "adapter_model.safetensors"],
    ["an adapter", "merge_and_unload()"],
  ],
  [["model-Q4_K_M.gguf"], ["in GGUF", "Give the safetensors checkpoint that it was made from"]],
  [["config.json", "model.GGUF"], ["in GGUF"]],
  [
    ["params.json", "consolidated.safetensors", "tekken.json"],
    ["Mistral's own format", "in transformers' format"],
  ],
  [["config.json", "params.json", "consolidated.safetensors"], ["Mistral's own format"]],
  [
    ["params.json", "consolidated.00.pth", "tokenizer.model"],
    ["Meta's own format", "convert_llama_weights_to_hf.py"],
  ],
  [
    ["config.json", "pytorch_model.bin"],
    ["PyTorch's format only", "Convert them to safetensors first"],
  ],
  [["pytorch_model-00001-of-00002.bin", "tokenizer.json"], ["PyTorch's format only"]],
  [["model.pt"], ["PyTorch's format only"]],
  [
    ["model_index.json", "unet/", "text_encoder/"],
    ["a diffusers pipeline", "Give a language model"],
  ],
  [
    ["tokenizer.json", "tokenizer_config.json"],
    ["a tokenizer alone", "Download the weights"],
  ],
  [["config.json", "tokenizer.json"], ["a configuration and a tokenizer alone"]],
  [["config.json", "onnx/"], ["an export to ONNX"]],
  [["model.onnx", "model.onnx_data", "genai_config.json"], ["an export to ONNX"]],
  [["config.json", "rank0.engine"], ["another runtime"]],
  [["config.json", "openvino_model.xml", "openvino_model.bin"], ["another runtime"]],
  [["config.json", "weights.npz"], ["another runtime"]],
  [
    ["config.json", "tf_model.h5"],
    ["TensorFlow", "save_pretrained(FOLDER)"],
  ],
  [["config.json", "flax_model.msgpack"], ["Flax"]],
  [
    ["zero_to_fp32.py", "latest", "global_step500/"],
    ["the state of a training run", "zero_to_fp32.py"],
  ],
  [["model-00001-of-00002.distcp"], ["the state of a training run"]],
  [
    ["model.safetensors", "training_args.bin"],
    ["weights without it", "Download it, too"],
  ],
  [["config.json", "README.md"], ["Give a folder with config.json and *.safetensors"]],
  [["README.md"], ["config.json: not found", "Give a folder with config.json and *.safetensors"]],
];

async function makeFolder(path: string, names: readonly string[]): Promise<string> {
  await mkdir(path, { recursive: true });
  for (const name of names) {
    if (name.endsWith("/")) await mkdir(join(path, name), { recursive: true });
    else if (name === "config.json") await writeFiles(path, { [name]: "{}" });
    else await writeFiles(path, { [name]: name.endsWith(".safetensors") ? safetensorsOf([weight("a", 1)]) : "" });
  }
  return path;
}

async function refusalOf(read: (folder: string) => Promise<unknown>, folder: string): Promise<string> {
  const error: unknown = await read(folder).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CheckpointError);
  return (error as Error).message;
}

describe("a folder with", () => {
  test.each(KINDS)("%j", async (names, says) => {
    const folder = await makeFolder(join(root(), "folder"), names);
    const messages = [await refusalOf(openCheckpoint, folder)];
    // Whoever inspects also looks at folders whose safetensors files are not called model.
    const isSurveyed = names.includes("config.json") && names.some((name) => name.endsWith(".safetensors"));
    if (!isSurveyed) messages.push(await refusalOf(surveyCheckpoint, folder));
    for (const message of messages) {
      expect(message).toContain(folder);
      for (const part of says) expect(message).toContain(part);
    }
  });

  test("the checkpoints of a training run: the last is named", async () => {
    const run = join(root(), "run");
    for (const step of [90, 1000, 500]) {
      await makeFolder(join(run, `checkpoint-${step}`), ["config.json", "model.safetensors"]);
    }
    expect(await refusalOf(openCheckpoint, run)).toContain(`Give that: ${join(run, "checkpoint-1000")}`);
  });
});

describe("of the hub's cache", () => {
  const makeCache = () =>
    makeFolder(join(root(), "hub/models--org--name/snapshots/abc"), ["config.json", "model.safetensors"]);

  test.each([
    ["models--org--name", /is the hub's cache of org\/name\. Give the hub id org\/name, or a snapshot in it: .*\/abc$/],
    ["models--org--name/snapshots", /is the hub's cache of org\/name\. Give the hub id org\/name/],
    [".", /is the hub's cache\. Give the hub id of a model, such as org\/name\.$/],
  ])("%s is not a checkpoint, and its message names the hub id", async (path, says) => {
    await makeCache();
    expect(await refusalOf(openCheckpoint, join(root(), "hub", path))).toMatch(says);
  });
});
