// Parts of names that training code leaves behind are found wherever they stand, and only where they mean that.

import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/architectures/registry.js";
import { findForeignName } from "../../src/checkpoint/foreign-names.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { CheckpointError } from "../../src/errors.js";
import { configOf } from "../helpers/golden-checkpoints.js";
import { safetensorsOf, temporaryFolder, weight, writeFiles } from "../helpers/safetensors-files.js";

const K = "model.layers.0.self_attn.k_proj";

const FOREIGN: readonly (readonly [name: string, part: string, says: string])[] = [
  [`_orig_mod.${K}.weight`, "_orig_mod", "torch.compile"],
  ["model._orig_mod.layers.0.self_attn.k_proj.weight", "_orig_mod", "model._orig_mod.save_pretrained"],
  ["model.layers.0._orig_mod.self_attn.k_proj.weight", "_orig_mod", "torch.compile"],
  [`module.${K}.weight`, "module", "DistributedDataParallel"],
  [`module._orig_mod.${K}.weight`, "module", "model.module.save_pretrained"],
  [`_fsdp_wrapped_module.${K}.weight`, "_fsdp_wrapped_module", "FSDP"],
  ["model.layers.0._checkpoint_wrapped_module.self_attn.k_proj.weight", "_checkpoint_wrapped_module", "checkpointing"],
  [`_forward_module.${K}.weight`, "_forward_module", "Lightning"],
  [`base_model.model.${K}.weight`, "base_model.model", "merge_and_unload()"],
  [`${K}.base_layer.weight`, "base_layer", "merge_and_unload()"],
  [`${K}.lora_A.weight`, "lora_A", "merge_and_unload()"],
  [`${K}.lora_A.default.weight`, "lora_A", "PEFT"],
  [`pretrained_model.${K}.weight`, "pretrained_model", "TRL"],
  [`state_dict.${K}.weight`, "state_dict", "a trainer"],
];

describe("a name that an engine does not find", () => {
  test.each(FOREIGN)("%s", (name, part, says) => {
    const found = findForeignName(["model.norm.weight", name]);
    expect(found?.name).toBe(name);
    expect(found?.problem).toContain(`has "${part}" in its name`);
    expect(found?.problem).toContain(says);
  });

  test("is refused when the checkpoint is opened", async () => {
    const tensors = safetensorsOf([weight("module.a", 1)]);
    await writeFiles(folder(), { "config.json": "{}", "model.safetensors": tensors });
    const error: unknown = await openCheckpoint(folder()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(/tensor "module\.a" has "module" in its name.*\.$/);
  });
});

const folder = temporaryFolder();

test.each([
  `${K}.weight`,
  "model.module.layers.0.self_attn.k_proj.weight",
  "transformer.h.0.attn.c_attn.weight",
  "model.layers.0.modules.weight",
  "base_model.layers.0.self_attn.k_proj.weight",
  "",
])("%j is left to those who know architectures", (name) => {
  expect(findForeignName([name])).toBeUndefined();
});

describe("a prefix that no engine knows", () => {
  const config = configOf("llama-gqa", "config.json");
  const tensorsBehind = (prefix: string, more: readonly string[] = []) => ({
    keys: () => [...more, `${prefix}layers.0.self_attn.k_proj.weight`],
    get: () => undefined,
  });

  test.each(["policy.model.", "actor.", "student.model.", "my.model.", "model.model."])("%s is refused", (prefix) => {
    expect(() => describeModel(config, tensorsBehind(prefix))).toThrow(
      `engines do not know "${prefix}" before the tensors of a decoder`,
    );
  });

  test.each(["", "model.", "model.language_model.", "language_model.model."])("%j is not", (prefix) => {
    expect(() => describeModel(config, tensorsBehind(prefix))).toThrow(/is missing/);
  });

  test("is no matter beside one that engines know", () => {
    const tensors = tensorsBehind("model.", ["talker.model.layers.0.self_attn.k_proj.weight"]);
    expect(() => describeModel(config, tensors)).toThrow(/is missing/);
  });
});
