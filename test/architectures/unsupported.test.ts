// Models that cannot be calibrated are refused with the reason in a sentence; unknown ones with the names that are near.

import { describe, expect, test } from "vitest";
import { ARCHITECTURES, describeConfig, WRAPPERS } from "../../src/architectures/registry.js";
import { UNSUPPORTED } from "../../src/architectures/unsupported.js";
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
  ["multi-head latent attention", /MLA/, ["deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite", "minicpm3"]],
  ["multi-head latent attention", /MLA/, ["longcat_flash", "deepseek_v32", "glm_moe_dsa"]],
  ["hybrids", /hybrid/, ["qwen4_exp", "hymba", "plamo2"]],
  ["hybrids", /hybrid/, ["lfm2_vl", "zamba2", "kimi_linear"]],
  ["models without attention", /no attention, so it has no KV cache/, ["mamba", "mamba2", "falcon_mamba", "rwkv"]],
  ["encoder-decoders", /encoder-decoder/, ["t5", "bart", "whisper"]],
  ["encoders", /encoder: it generates no text/, ["bert", "roberta", "modernbert"]],
  ["ALiBi", /ALiBi: .*grows with the distance/, ["bloom", "mpt"]],
  ["multimodal models without a reader", /multimodal.*text decoder alone/, ["qwen2_vl", "llava"]],
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
