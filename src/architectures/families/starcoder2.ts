// StarCoder 2: layer norms, biases everywhere, a feed-forward without gate, one window.

import type { Decoder } from "../description.js";
import { llamaLike, plainAsSaid } from "../llama-like.js";
import { type FamilyInput, layerNormOf } from "../parts.js";
import { readSizes } from "../sizes.js";
import { LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { uniformWindow } from "../windows.js";

export const STARCODER2_NAMES: NameTable = { ...LLAMA_NAMES, up: "c_fc", down: "c_proj" };

const AS_HERE = "what this family is anyway";

export function describeStarcoder2(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 2 });
  const bias = config.boolean("use_bias", true);
  const window = uniformWindow(config);
  config.ignore("activation_function", "hidden_act is read");
  config.ignoreIf("mlp_type", ["default"], AS_HERE);
  config.ignoreIf("norm_type", ["layer_norm"], AS_HERE);
  config.ignoreIf("scale_attn_weights", [true], AS_HERE);
  config.ignoreIf("layer_norm_epsilon", [config.raw("norm_epsilon")], "says the same as norm_epsilon");
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    feedForward: plainAsSaid(config, sizes.hidden, "gelu_pytorch_tanh", bias),
    norm: layerNormOf(config, "norm_epsilon"),
    windows: Array.from({ length: sizes.layers }, () => window),
    tied: true,
  });
}
