// What a quantization_config says of weights, and what the checkpoint's tensors say: lists of modules are read as the
// methods read them, and where the two contradict each other, the message names both.

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type NameSyntax, namedModules } from "../../src/architectures/quantization/module-names.js";
import { describeConfig, describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError, UnsupportedModelError } from "../../src/errors.js";
import { configOf, GOLDEN_FOLDER, type Json } from "../helpers/golden-checkpoints.js";

describe("modules that a list names", () => {
  const Q = "model.layers.1.self_attn.q_proj";
  const Q11 = "model.layers.11.self_attn.q_proj";
  const GATE = "model.layers.1.mlp.gate";
  const GATE_PROJ = "model.layers.1.mlp.gate_proj";
  const IN_MODEL = "model.language_model.layers.1.self_attn.q_proj";
  const ALL = [Q, Q11, GATE, GATE_PROJ, IN_MODEL];

  test.each<[NameSyntax, string, readonly string[]]>([
    ["compressed-tensors", Q, [Q, IN_MODEL]],
    ["compressed-tensors", "q_proj", []],
    ["compressed-tensors", "re:.*self_attn\\.q_proj$", [Q, Q11, IN_MODEL]],
    ["compressed-tensors", "re:.*mlp.gate$", [GATE]],
    ["compressed-tensors", "re:self_attn", []],
    ["compressed-tensors", "re:language_model[.]model[.].*", [IN_MODEL]],
    ["compressed-tensors", "re:^(?!.*proj).*$", [GATE]],
    ["wildcards", "model.layers.1.self_attn*", [Q, IN_MODEL]],
    ["wildcards", "model.layers.1", [Q, GATE, GATE_PROJ, IN_MODEL]],
    ["wildcards", "*gate", [GATE]],
    ["wildcards", "model.layers.?.mlp*", []],
    ["transformers", "gate", [GATE]],
    ["transformers", "model.layers.1", [Q, GATE, GATE_PROJ, IN_MODEL]],
    ["transformers", "model.layers.*.self_attn", [Q, Q11, IN_MODEL]],
    ["transformers", "lm_head", []],
  ])("%s: %s", (syntax, entry, expected) => {
    expect([...namedModules(ALL, ["lm_head", entry], syntax, "config.json: ignore")]).toEqual(expected);
  });

  test.each<[string, string, RegExp]>([
    ["is none", "re:(", /^config\.json: ignore: .* is no regular expression/],
    ["never ends", "re:(.*a)*[^a-z0-9_.]", /^config\.json: ignore: the regular expressions took longer than 1 second/],
  ])("an expression that %s is refused", (_rule, entry, message) => {
    const modules = Array.from({ length: 100 }, (_, layer) => `model.layers.${layer}.${"a".repeat(60)}`);
    const run = () => namedModules(modules, [entry], "compressed-tensors", "config.json: ignore");
    expect(run).toThrow(UnsupportedModelError);
    expect(run).toThrow(message);
  });
});

type Tensor = { shape: number[]; dtype: string; file: string };

async function goldenParts(name: string) {
  const { config, tensors } = await openCheckpoint(join(GOLDEN_FOLDER, "quantized", name));
  const copies = new Map<string, Tensor>();
  for (const [key, { shape, dtype }] of tensors) copies.set(key, { shape: [...shape], dtype, file: "a.safetensors" });
  return { config, tensors: copies };
}

const K = "model.layers.1.self_attn.k_proj";

describe("a checkpoint whose tensors contradict its quantization_config is refused, and the message names both", () => {
  interface Contradiction {
    readonly golden: string;
    readonly block?: Json;
    readonly change: (tensors: Map<string, Tensor>, of: (name: string) => Tensor) => void;
    readonly message: RegExp;
  }

  test.each<[string, Contradiction]>([
    [
      "codes without a scale",
      {
        golden: "fp8-block",
        change: (tensors) => tensors.delete(`${K}.weight_scale_inv`),
        message:
          /^a\.safetensors: tensor ".*1\.self_attn\.k_proj\.weight": expected ".*weight_scale_inv" or ".*weight_scale" beside it by config\.json: quantization_config \(fp8\)/,
      },
    ],
    [
      "scales for other blocks",
      {
        golden: "fp8-block",
        change: (_, of) => of(`${K}.weight_scale_inv`).shape.splice(0, 2, 2, 4),
        message: /tensor ".*k_proj\.weight_scale_inv": expected 2 × 3 scales by config\.json: .*, found shape \[2, 4\]/,
      },
    ],
    [
      "scales of integers",
      {
        golden: "compressed-tensors-channel",
        change: (_, of) => Object.assign(of("model.layers.1.self_attn.qkv_proj.weight_scale"), { dtype: "I32" }),
        message: /qkv_proj\.weight_scale": expected F32 or BF16 or F16 by config\.json: .*, found I32/,
      },
    ],
    [
      "numbers beside a scale",
      {
        golden: "fp8-block",
        change: (_, of) => Object.assign(of(`${K}.weight`), { dtype: "BF16" }),
        message:
          /k_proj\.weight" beside ".*k_proj\.weight_scale_inv": expected F8_E4M3 by config\.json: .*, found BF16/,
      },
    ],
    [
      "numbers of a module that is said to be quantized",
      {
        golden: "fp8-block",
        change: (tensors, of) => {
          Object.assign(of(`${K}.weight`), { dtype: "BF16" });
          tensors.delete(`${K}.weight_scale_inv`);
        },
        message:
          /tensor ".*k_proj\.weight": found BF16, but config\.json: quantization_config \(fp8\) says that ".*1\.self_attn\.k_proj" is quantized/,
      },
    ],
    [
      "codes of a module that is left out",
      {
        golden: "compressed-tensors-tensor",
        block: { ignore: ["lm_head", "re:.*v_proj$"] },
        change: () => {},
        message:
          /tensor ".*1\.self_attn\.v_proj\.weight": found F8_E4M3, but config\.json: quantization_config \(compressed-tensors\) says that ".*v_proj" is not quantized/,
      },
    ],
    [
      "codes of another width",
      {
        golden: "modelopt-nvfp4",
        change: (_, of) => of("model.layers.1.mlp.experts.3.up_proj.weight").shape.splice(1, 1, 32),
        message: /experts\.3\.up_proj\.weight": expected shape \[16, 16\] by config\.json, found \[16, 32\]/,
      },
    ],
    [
      "other codes",
      {
        golden: "fp8-block",
        change: (_, of) => Object.assign(of(`${K}.weight`), { dtype: "F8_E5M2" }),
        message: /k_proj\.weight": dtype F8_E5M2 is not supported; supported: F8_E4M3/,
      },
    ],
  ])("%s", async (_rule, { golden, block, change, message }) => {
    const { config, tensors } = await goldenParts(golden);
    const quantization_config = { ...(config.quantization_config as Json), ...block };
    change(tensors, (name) => tensors.get(name) ?? expect.fail(`no tensor ${name}`));
    const run = () => describeModel({ ...config, quantization_config }, tensors);
    expect(run).toThrow(message);
  });

  test("a tensor beside codes that the method does not know is refused", async () => {
    const { config, tensors } = await goldenParts("fp8-block");
    tensors.set(`${K}.weight_bias_correction`, { shape: [1], dtype: "F32", file: "a.safetensors" });
    expect(() => describeModel(config, tensors)).toThrow(/weight_bias_correction" has no place in model_type "qwen3"/);
  });
});

describe("methods and settings that are not read are refused with the reason", () => {
  test.each<[string, Json, RegExp]>([
    [
      "bitsandbytes",
      { quant_method: "bitsandbytes", load_in_4bit: true },
      /"bitsandbytes" is not supported: its scales are for runs/,
    ],
    [
      "a method that nobody knows",
      { quant_method: "quip" },
      /"quip" is not supported; supported: .*Calibrate the 16-bit/,
    ],
    [
      "another algorithm of ModelOpt",
      { quant_method: "modelopt", quant_algo: "W4A8_AWQ" },
      /quant_algo: "W4A8_AWQ" is not supported/,
    ],
    [
      "a setting that nobody knows",
      { quant_method: "fp8", rotation: "hadamard" },
      /quantization_config\.rotation: "hadamard" is not understood/,
    ],
    ["FP8 of another kind", { quant_method: "fp8", fmt: "e5m2" }, /quantization_config\.fmt: "e5m2" is not understood/],
    [
      "rotations of activations",
      {
        quant_method: "compressed-tensors",
        config_groups: { a: { targets: ["Linear"], weights: { type: "float", num_bits: 8 } } },
        format: "float-quantized",
        transform_config: {
          config_groups: { R3: { type: "hadamard", apply: [{ location: "k_cache", targets: [] }] } },
        },
      },
      /config_groups\.R3: .*k_cache.* is not supported: engines would rotate activations/,
    ],
  ])("%s", (_rule, quantization_config, message) => {
    const run = () => describeConfig({ ...configOf("llama-gqa"), quantization_config });
    expect(run).toThrow(UnsupportedModelError);
    expect(run).toThrow(message);
  });

  test.each([[[128]], [[128, 0]], [[1.5, 128]], [[128, 128, 1]]])("a block of %j is none", (weight_block_size) => {
    const quantization_config = { quant_method: "fp8", weight_block_size };
    const run = () => describeConfig({ ...configOf("llama-gqa"), quantization_config });
    expect(run).toThrow(CheckpointError);
    expect(run).toThrow("quantization_config.weight_block_size: expected two positive integers");
  });
});

test("mixed groups: names come before expressions, and these before the class of all", async () => {
  const { config, tensors } = await goldenParts("compressed-tensors-channel");
  const group = (strategy: string, ...targets: string[]) => ({
    targets,
    weights: { type: "float", num_bits: 8, strategy },
  });
  const down = "model.layers.0.mlp.down_proj.weight_scale";
  tensors.set(down, { shape: [1], dtype: "F32", file: "a.safetensors" });
  const config_groups = { all: group("channel", "Linear"), some: group("tensor", "re:.*layers[.]0.*down_proj$") };
  const block = { ...(config.quantization_config as Json), config_groups };
  const decoder = describeModel({ ...config, quantization_config: block }, tensors);
  expect(decoder.quantization?.forms).toEqual(["FP8 with a scale for a matrix", "FP8 with a scale for an output"]);
});
