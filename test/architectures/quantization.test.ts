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
    [
      "integers without zero points",
      {
        golden: "gptq-4-order",
        change: (tensors) => tensors.delete(`${K}.qzeros`),
        message: /tensor ".*k_proj\.qweight": expected ".*k_proj\.qzeros" beside it, I32 by .*\(gptq\).*, found none/,
      },
    ],
    [
      "zero points for other groups",
      {
        golden: "compressed-tensors-int8-zero",
        change: (_, of) => of("model.layers.1.self_attn.qkv_proj.weight_zero_point").shape.splice(1, 1, 3),
        message: /qkv_proj\.weight_zero_point": expected 64 × 2 zero points, .*found shape \[64, 3\]/,
      },
    ],
    [
      "words of other sizes",
      {
        golden: "awq",
        change: (_, of) => of(`${K}.qweight`).shape.splice(1, 1, 16),
        message: /k_proj\.qweight": expected shape \[32, 2\] by config\.json, found \[32, 16\]/,
      },
    ],
    [
      "inputs that do not name their groups",
      {
        golden: "gptq-4-order",
        change: (tensors) => tensors.delete(`${K}.g_idx`),
        message: /k_proj\.g_idx" is missing/,
      },
    ],
    [
      "words of a module that a list leaves out",
      {
        golden: "gptq-8",
        block: { dynamic: { "-:.*k_proj": {}, "-:.*0.mlp.*": {} } },
        change: () => {},
        message: /k_proj\.qweight": found I32, but .*\(gptq\) says that ".*k_proj" is not quantized/,
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

describe("numbers where engines would have codes are refused in every kind of block", () => {
  const LAYER = "model.layers.1";
  const FP8 = { quant_method: "fp8", activation_scheme: "dynamic" };
  /** Left in 16 bits everywhere. */
  const LEFT = ["router", "altup", "A_log", "norm"];

  /** A golden of 16 bits with all its projections in FP8 but one. */
  async function allButOne(golden: string, numbers: string) {
    const { config, tensors } = await openCheckpoint(join(GOLDEN_FOLDER, "checkpoints", golden));
    const copies = new Map<string, Tensor>();
    for (const [name, { shape, dtype }] of tensors) {
      const isLeft = LEFT.some((part) => name.includes(part)) || name === numbers;
      const isCode = /layers\.\d+\./.test(name) && shape.length === 2 && !isLeft;
      copies.set(name, { shape: [...shape], dtype: isCode ? "F8_E4M3" : dtype, file: "a.safetensors" });
      if (isCode) copies.set(`${name}_scale`, { shape: [], dtype: "F32", file: "a.safetensors" });
    }
    return { config, tensors: copies };
  }

  test.each<[kind: string, golden: string, module: string]>([
    ["attention", "lfm2-bias", "model.layers.2.self_attn.q_proj"],
    ["short convolutions", "lfm2-bias", `${LAYER}.conv.in_proj`],
    ["state-space models", "falcon_h1-norm", `${LAYER}.mamba.out_proj`],
    ["feed-forwards", "falcon_h1-norm", `${LAYER}.feed_forward.up_proj`],
    ["branches of low rank", "gemma3n_text-unshared", `${LAYER}.laurel.linear_left`],
    ["per-layer inputs", "gemma3n_text-unshared", `${LAYER}.per_layer_input_gate`],
    ["experts' own space", "nemotron_h-latent", "backbone.layers.1.mixer.fc1_latent_proj"],
  ])("%s: %s, %s", async (_kind, golden, module) => {
    const { config, tensors } = await allButOne(golden, `${module}.weight`);
    expect(tensors.get(`${module}.weight`)?.dtype).toBe("BF16");
    const describeLeaving = (modules: readonly string[]) => {
      const modules_to_not_convert = ["router", "altup", "model.per_layer_model_projection", ...modules];
      return describeModel({ ...config, quantization_config: { ...FP8, modules_to_not_convert } }, tensors);
    };
    expect(() => describeLeaving([])).toThrow(
      `"${module}.weight": found BF16, but config.json: quantization_config (fp8)`,
    );
    expect(() => describeLeaving([module])).not.toThrow();
  });

  test("a selective scan, which engines leave in 16 bits, may have numbers", async () => {
    const module = "model.layers.0.mamba.in_proj";
    const { config, tensors } = await allButOne("jamba-dense-bias", `${module}.weight`);
    expect(() => describeModel({ ...config, quantization_config: FP8 }, tensors)).not.toThrow();
  });
});

function integerGroups(format: string, weights: Json): Json {
  const group = { targets: ["Linear"], weights: { type: "int", symmetric: true, ...weights } };
  return { quant_method: "compressed-tensors", format, config_groups: { group_0: group } };
}

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
    [
      "GPTQ of 3 bits",
      { quant_method: "gptq", bits: 3 },
      /quantization_config\.bits: 3 is not supported; supported: 4, 8/,
    ],
    [
      "GPTQ of 2 bits in some modules",
      { quant_method: "gptq", bits: 4, dynamic: { "+:.*down.*": { bits: 2 } } },
      /bits: 2 is not supported/,
    ],
    [
      "GPTQ in Marlin's order",
      { quant_method: "gptq", bits: 4, checkpoint_format: "marlin" },
      /checkpoint_format: "marlin" is not supported/,
    ],
    ["AWQ for GEMV", { quant_method: "awq", bits: 4, version: "GEMV" }, /"version":"gemv".* is not supported/],
    ["AWQ without zero points", { quant_method: "awq", bits: 4, zero_point: false }, /"zero_point":false/],
    [
      "integers whose inputs are in another order",
      integerGroups("pack-quantized", { num_bits: 4, strategy: "group", group_size: 32, actorder: "group" }),
      /weights\.actorder: "group" is not understood/,
    ],
    [
      "words of 3 bits",
      integerGroups("pack-quantized", { num_bits: 3, strategy: "group", group_size: 32 }),
      /weights of int 3 bits by group in the format "pack-quantized" are not supported/,
    ],
    [
      "FP8 that is not symmetric",
      integerGroups("float-quantized", { type: "float", num_bits: 8, strategy: "channel", symmetric: false }),
      /float 8 bits by channel, not symmetric, in the format/,
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

test("GPTQ's exceptions: the first expression that a module matches counts", async () => {
  const { config, tensors } = await goldenParts("gptq-4-order");
  const block = config.quantization_config as Json;
  const down = "model.layers.0.mlp.down_proj";
  tensors.set(`${down}.qzeros`, { shape: [1, 4], dtype: "I32", file: "a.safetensors" });
  tensors.set(`${down}.scales`, { shape: [1, 32], dtype: "F16", file: "a.safetensors" });
  const dynamic = { "+:.*0\\.mlp\\.down": { group_size: -1 }, ".*mlp.*": { group_size: 8 }, "-:.*down.*": {} };
  const { quantization } = describeModel({ ...config, quantization_config: { ...block, dynamic } }, tensors);
  expect(quantization?.forms).toEqual([
    "integers of 4 bits with a scale for 8 inputs",
    "integers of 4 bits with a scale for an output",
  ]);
});

test.each(["gptq-4-order", "awq"])(
  "%s: a module whose tensors are numbers is one that is not quantized",
  async (name) => {
    const { config, tensors } = await goldenParts(name);
    for (const part of ["qweight", "qzeros", "scales", "g_idx"]) tensors.delete(`${K}.${part}`);
    const outputs = tensors.get(`model.layers.0.self_attn.k_proj.scales`)?.shape[1] ?? 0;
    tensors.set(`${K}.weight`, { shape: [outputs, 32], dtype: "BF16", file: "a.safetensors" });
    expect(describeModel(config, tensors).quantization?.method).toBe(name.split("-")[0]);
  },
);

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
