// What the config of a decoder inside a multimodal model leaves out is what transformers takes. Its classes' own configs
// are the reference: test/golden/make_golden.py wrote them down.

import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import type { Decoder } from "../../src/architectures/description.js";
import { describeConfig } from "../../src/architectures/registry.js";
import { WRAPPERS } from "../../src/architectures/wrappers.js";
import { type Json, readGolden } from "../helpers/golden-checkpoints.js";

interface WrapperConfigs {
  readonly wrappers: Readonly<Record<string, Json>>;
  readonly decoders: Readonly<Record<string, Json>>;
}

const { wrappers, decoders } = readGolden<WrapperConfigs>("wrapper-configs.json");

/** Layers that predict further tokens are none of the decoder's. */
function decoderOf(config: Json): Decoder {
  const { nextTokenLayers: _, ...decoder } = describeConfig(config).decoder;
  return decoder;
}

/** A copy with another value at a path. */
function withAt(config: Json, path: string, value: unknown): Json {
  const [key = "", ...rest] = path.split(".");
  return { ...config, [key]: rest.length === 0 ? value : withAt(config[key] as Json, rest.join("."), value) };
}

test("every wrapper that transformers knows has its config there", () => {
  expect(Object.keys(WRAPPERS).filter((modelType) => !Object.hasOwn(wrappers, modelType))).toEqual([
    "NemotronH_Nano_Omni_Reasoning_V3",
    "NemotronH_Nano_VL_V2",
    "internvl_chat",
    "ernie4_5_moe_vl",
  ]);
});

/** Heads whose size would be odd: no checkpoint could be so. */
const WITHOUT_HEAD_DIM = ["glm4v_moe", "qwen3_omni_moe", "qwen3_omni_moe_thinker"];
/** What its class computes from other keys, and a description has for itself. */
const COMPUTED = ["attention_multiplier"];

describe("of a wrapper, with all keys of its decoder and with none", () => {
  test.each(Object.entries(wrappers))("%s", (modelType, config) => {
    const { decoderKey = "" } = WRAPPERS[modelType] ?? {};
    const text = decoderKey.split(".").reduce((part, key) => part[key] as Json, config);
    const said = {
      ...(WITHOUT_HEAD_DIM.includes(modelType) && { head_dim: 128 }),
      ...Object.fromEntries(Object.entries(text).filter(([key]) => COMPUTED.includes(key))),
    };
    const whole = decoderOf(withAt(config, decoderKey, { ...text, ...said }));
    expect(decoderOf(withAt(config, decoderKey, said))).toEqual(whole);
  });
});

describe("of a family inside LLaVA, whatever key is away", () => {
  test.each(Object.entries(decoders))("%s", (modelType, text) => {
    const inside = (textConfig: Json) => decoderOf({ model_type: "llava", text_config: textConfig });
    const whole = inside(text);
    const matters = Object.keys(text).filter((key) => {
      if ([...COMPUTED, "model_type"].includes(key)) return false;
      // Without its rotation, Ministral 3 is refused.
      if (modelType === "ministral3" && key === "rope_parameters") return false;
      const { [key]: _, ...others } = text;
      return !isDeepStrictEqual(inside(others), whole);
    });
    expect(matters).toEqual([]);
  });
});
