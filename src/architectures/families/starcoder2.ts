// StarCoder 2: layer norms, biases everywhere, a feed-forward without gate, one window.

import type { Decoder } from "../description.js";
import { decoderOf, type FamilyInput, groupedQuery, layerNormOf, plain, preNorm, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { uniformWindow } from "../windows.js";

export const STARCODER2_NAMES: NameTable = { ...LLAMA_NAMES, up: "c_fc", down: "c_proj" };

export function describeStarcoder2(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 2 });
  const norm = layerNormOf(config, "norm_epsilon");
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("use_bias", true);
  const window = uniformWindow(config);
  config.ignore("activation_function", "hidden_act is read");
  config.ignoreIf("mlp_type", ["default"], "what this family is anyway");
  config.ignoreIf("norm_type", ["layer_norm"], "what this family is anyway");
  config.ignoreIf("scale_attn_weights", [true], "what this family is anyway");
  config.ignoreIf("layer_norm_epsilon", [config.raw("norm_epsilon")], "says the same as norm_epsilon");
  const inner = {
    intermediate: config.positiveInteger("intermediate_size"),
    activation: readActivation(config, "hidden_act", "gelu_pytorch_tanh"),
    bias,
  };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => [
      preNorm(
        norm(layer.attentionNorm, sizes.hidden),
        groupedQuery(layer, sizes, { qkv: bias, output: bias }, { rope: rotateAll(rope), window }),
      ),
      preNorm(norm(layer.feedForwardNorm, sizes.hidden), plain(layer, sizes.hidden, inner)),
    ],
    finalNorm: norm(names.finalNorm, sizes.hidden),
    tied: true,
  });
}
