// Hunyuan, the dense ones: norms over each head of q and k after the rotation, and a fixed NTK scaling of it. The text
// part of HunyuanOCR is the same, with M-RoPE.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { ModelConfig } from "../model-config.js";
import type { FamilyInput } from "../parts.js";
import type { RopeReading } from "../rope.js";
import { readSizes, type Sizes } from "../sizes.js";
import { LLAMA_NAMES, type NameTable } from "../tensor-names.js";

export const HUNYUAN_NAMES: NameTable = { ...LLAMA_NAMES, queryNorm: "query_layernorm", keyNorm: "key_layernorm" };

const AS_HERE = "what this family is anyway";

export function describeHunyuanV1Dense(input: FamilyInput): Decoder {
  return hunyuanLike(input, { hasAlpha: true });
}

export function describeHunyuanVl(input: FamilyInput): Decoder {
  return hunyuanLike(input, { hasAlpha: true, hasSections: true });
}

function hunyuanLike(input: FamilyInput, rope: RopeReading): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  ignoreHunyuanKeys(config, sizes);
  const bias = config.boolean("attention_bias", false);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    queryKeyNorms: "after-rotation",
    rope,
    epsilon: 1e-5,
  });
}

/** Keys of both kinds of Hunyuan that transformers does not read. */
export function ignoreHunyuanKeys(config: ModelConfig, sizes: Sizes): void {
  config.ignoreIf("attention_head_dim", [sizes.headDim], "says the same as head_dim");
  config.ignoreIf("use_qk_norm", [true], AS_HERE);
  config.ignoreIf("use_rotary_pos_emb", [true], AS_HERE);
  config.ignoreIf("norm_type", ["rms"], AS_HERE);
  config.ignore("cla_share_factor", "only use_cla has a use for it, and is refused unless false");
}
