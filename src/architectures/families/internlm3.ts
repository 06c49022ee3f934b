// InternLM 3: Llama with other names for the switches of its biases.

import { UnsupportedModelError } from "../../errors.js";
import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { ModelConfig } from "../model-config.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";

export function describeInternLm3(input: FamilyInput): Decoder {
  const { config } = input;
  const bias = readBias(config, "qkv_bias", "attention_bias");
  const feedForwardBias = readBias(config, "bias", "mlp_bias");
  if (bias !== feedForwardBias) {
    // Its makers' code has a switch for q, k and v and one for the rest, transformers one for the attention.
    throw new UnsupportedModelError(
      `${config.nameOf("qkv_bias")}: ${bias} with bias ${feedForwardBias} is not supported: transformers and vLLM do not compute it either`,
    );
  }
  return llamaLike(input, {
    sizes: readSizes(config, { kvHeads: 2, headDim: 128 }),
    attentionBias: { qkv: bias, output: bias },
    feedForwardBias,
    epsilon: 1e-5,
  });
}

/** Under the name of released files, or under that which transformers 5 writes. */
function readBias(config: ModelConfig, released: string, resaved: string): boolean {
  return config.boolean(config.has(released) ? released : resaved, false);
}
