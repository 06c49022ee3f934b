// Models that cannot be calibrated are refused with the reason in a sentence; unknown ones with the names that are near.

import { describe, expect, test } from "vitest";
import { ARCHITECTURES, describeConfig } from "../../src/architectures/registry.js";
import { UNSUPPORTED } from "../../src/architectures/unsupported.js";
import { WRAPPERS } from "../../src/architectures/wrappers.js";
import { UnsupportedModelError } from "../../src/errors.js";

function messageFor(modelType: string): string {
  try {
    describeConfig({ model_type: modelType });
  } catch (error) {
    expect(error).toBeInstanceOf(UnsupportedModelError);
    return error instanceof Error ? error.message : "";
  }
  throw new Error(`${modelType} is described`);
}

test.each<[kind: string, reason: RegExp, modelTypes: readonly string[]]>([
  ["latent attention", /MLA\).* no scales for it/, ["deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25", "kimi_vl"]],
  ["latent attention", /MLA\).* no scales for it/, ["glm4_moe_lite", "longcat_flash", "longcat_flash_ngram", "axk1"]],
  [
    "latent attention",
    /MLA\).* no scales for it/,
    ["mistral4", "youtu", "dots3_note", "sarvam_mla", "pangu_ultra_moe"],
  ],
  ["sparse latent attention", /sparse .*MLA.* scale by themselves/, ["deepseek_v32", "deepseek_v4", "deepseek_v41"]],
  ["sparse latent attention", /sparse .*MLA.* scale by themselves/, ["glm_moe_dsa", "glm5_next", "hy_v4", "axk2"]],
  ["hybrids with latent attention", /hybrid .*MLA.* no scales for it/, ["kimi_linear", "kimi_k3", "bailing_hybrid"]],
  ["keys and values of a latent vector", /expanded .*MLA.* not computed here/, ["minicpm3"]],
  ["hybrids", /hybrid/, ["qwen4_exp", "hymba", "plamo2"]],
  ["hybrids", /hybrid/, ["zamba2", "minimax"]],
  ["models without attention", /no attention, so it has no KV cache/, ["mamba", "mamba2", "falcon_mamba", "rwkv"]],
  ["encoder-decoders", /encoder-decoder/, ["t5", "bart", "whisper"]],
  ["encoders", /encoder: it generates no text/, ["bert", "roberta", "modernbert"]],
  ["ALiBi", /ALiBi: .*grows with the distance/, ["bloom", "mpt"]],
  ["multimodal models with another decoder", /multimodal, and its decoder/, ["fuyu", "lfm3_vl"]],
  ["layers that attend to images", /attends to the image/, ["mllama"]],
  ["adapters", /adapters \(LoRA\)/, ["phi4_multimodal"]],
  ["a decoder without a name", /does not say which decoder/, ["minicpmv"]],
])("%s are refused with the reason", (_kind, reason, modelTypes) => {
  for (const modelType of modelTypes) {
    const message = messageFor(modelType);
    expect(message).toMatch(reason);
    expect(message).not.toContain("Did you mean");
    expect(message).toMatch(
      /^config\.json: model_type "[^"]+" is not supported: .*\. `create-kv-scales architectures`/,
    );
  }
});

test.each([
  ["a letter that is missing", "qwen3moe", "qwen3_moe"],
  ["a hyphen", "gpt-neox", "gpt_neox"],
  ["capitals", "Llama", "llama"],
  ["two letters changed round", "mixtarl", "mixtral"],
  ["a word that is missing", "hunyuan", "hunyuan_v1_dense"],
])("with %s, the name that was meant is suggested", (_change, typed, meant) => {
  expect(messageFor(typed)).toMatch(new RegExp(`Did you mean .*"${meant}"`));
});

test.each(["zzz", "a-model-of-my-own", "", "x".repeat(100_000), "__proto__", "toString"])(
  "a name near to none (%.20s) gets no suggestion",
  (modelType) => {
    const message = messageFor(modelType);
    expect(message).not.toContain("Did you mean");
    expect(message).toContain("`create-kv-scales architectures` lists what is.");
  },
);

test("a message stays short however many architectures there are", () => {
  expect(messageFor("gemma5").length).toBeLessThan(250);
});

describe("the table of reasons", () => {
  test("names nothing that is supported", () => {
    const supported = [...Object.keys(ARCHITECTURES), ...Object.keys(WRAPPERS)];
    expect(Object.keys(UNSUPPORTED).filter((modelType) => supported.includes(modelType))).toEqual([]);
  });

  test("has reasons that read on behind a colon, and end before the full stop", () => {
    for (const reason of Object.values(UNSUPPORTED)) expect(reason).toMatch(/^it[ s].*[^.]$/);
  });
});
