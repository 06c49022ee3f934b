// Weights that only ModelOpt's hf_quant_config.json calls quantized, as its older exports do. Goldens hold their numbers;
// here is when the file counts, and what is said where it is wrong.

import { join } from "node:path";
import { expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { modelOptQuantization } from "../../src/checkpoint/model-opt-file.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, UnsupportedModelError } from "../../src/errors.js";
import { configOf, GOLDEN_FOLDER, goldenFolder, type Json } from "../helpers/golden-checkpoints.js";

async function parts() {
  const { config, tensors, modelOpt } = await openCheckpoint(join(GOLDEN_FOLDER, "quantized", "modelopt-nvfp4-file"));
  return { config, tensors, modelOpt: modelOptQuantization(modelOpt) ?? expect.fail("no quantization") };
}

test("the file says the method and the form of the weights", async () => {
  const { config, tensors, modelOpt } = await parts();
  const { quantization } = describeModel(config, tensors, { modelOpt });
  expect(quantization).toEqual({ method: "modelopt", forms: ["NVFP4"], activations: true });
});

test("without it the weights are refused", async () => {
  const { config, tensors } = await parts();
  expect(() => describeModel(config, tensors)).toThrow(UnsupportedModelError);
});

test("a quantization_config in config.json counts before it", async () => {
  const { config, tensors, modelOpt } = await parts();
  const quantization_config = { quant_method: "modelopt", ...modelOpt };
  const other = { ...modelOpt, quant_algo: "FP8" };
  const described = describeModel({ ...config, quantization_config }, tensors, { modelOpt: other });
  expect(described.quantization?.forms).toEqual(["NVFP4"]);
});

test("a file that speaks of the cache alone says nothing of weights", async () => {
  const { tensors } = await openCheckpoint(goldenFolder("llama-gqa"));
  const modelOpt = { quant_algo: null, kv_cache_quant_algo: "FP8" };
  expect(describeModel(configOf("llama-gqa"), tensors, { modelOpt })).not.toHaveProperty("quantization");
});

test("beside weights of 16 bits it is refused, and no key of config.json is said to be harmless", async () => {
  const { tensors } = await openCheckpoint(goldenFolder("llama-gqa"));
  const run = () => describeModel(configOf("llama-gqa"), tensors, { modelOpt: { quant_algo: "FP8" } });
  expect(run).toThrow(UnsupportedModelError);
  expect(run).toThrow(
    /^hf_quant_config\.json: quantization: says that weights are quantized \(FP8 .*Remove it if it is a leftover\.$/,
  );
});

test.each<[string, Json, RegExp, typeof CheckpointError | typeof UnsupportedModelError]>([
  [
    "another algorithm",
    { quant_algo: "W4A16_AWQ" },
    /^hf_quant_config\.json: quantization\.quant_algo: "W4A16_AWQ" is not supported; supported: FP8/,
    UnsupportedModelError,
  ],
  [
    "a key that nobody knows",
    { rotation: "hadamard" },
    /^hf_quant_config\.json: quantization\.rotation: "hadamard" is not understood/,
    UnsupportedModelError,
  ],
  [
    "a list that is none",
    { exclude_modules: "lm_head" },
    /^hf_quant_config\.json: quantization\.exclude_modules: expected a list of strings/,
    CheckpointError,
  ],
  [
    "a list without a module whose weights are numbers",
    { exclude_modules: ["lm_head"] },
    /0\.self_attn\.v_proj\.weight": found BF16, but hf_quant_config\.json: quantization says that/,
    CheckpointError,
  ],
])("%s is refused, and the message names the file", async (_rule, changes, message, kind) => {
  const { config, tensors, modelOpt } = await parts();
  const run = () => describeModel(config, tensors, { modelOpt: { ...modelOpt, ...changes } });
  expect(run).toThrow(kind);
  expect(run).toThrow(message);
});
