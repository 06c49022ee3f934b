// Gemma 3: Gemma 2 with norms of q and k instead of soft caps of scores, and a rotation of its own for sliding layers.

import type { Decoder } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  headNorms,
  plusOneNormOf,
  rotateAll,
  sandwiches,
  softcapOf,
} from "../parts.js";
import { ROPE_OF_TYPE, ropesByType } from "../rope-by-type.js";
import { readActivation, readSizes } from "../sizes.js";
import { typesByPattern, uniformWindow, windowsByType } from "../windows.js";

const DEFAULT_SIZES = { hidden: 2304, layers: 26, heads: 8, kvHeads: 4, headDim: 256 } as const;

export function describeGemma3(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, DEFAULT_SIZES);
  const { hidden } = sizes;
  const norm = plusOneNormOf(config);
  const ropes = ropesByType(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const hasTypes = config.has("layer_types");
  if (hasTypes) config.ignore("sliding_window_pattern", "layer_types is read");
  const pattern = hasTypes ? 1 : config.positiveInteger("sliding_window_pattern", 6);
  config.ignore("_sliding_window_pattern", "transformers writes it and reads the key without the underscore");
  const types = typesByPattern(config, sizes.layers, pattern);
  const windows = windowsByType(config, types, uniformWindow(config, 4096));
  const scale = config.positiveNumber("query_pre_attn_scalar", 256) ** -0.5;
  config.ignore("attn_logit_softcapping", "the attention of transformers and vLLM has no cap in Gemma 3");
  config.ignore("hidden_act", "hidden_activation is read");
  const inner = {
    intermediate: config.positiveInteger("intermediate_size", 9216),
    activation: readActivation(config, "hidden_activation", "gelu_pytorch_tanh"),
  };
  return decoderOf(input, {
    sizes,
    ropes,
    embedding: { multiplier: Math.sqrt(hidden) },
    layer: (layer, index) => {
      const rope = ROPE_OF_TYPE[types[index] ?? "full_attention"];
      const attention = groupedQuery(
        layer,
        sizes,
        { qkv: bias, output: bias },
        {
          rope: { ...rotateAll(ropes[0]), rope },
          ...{ scale, window: windows[index] },
          ...headNorms(layer, sizes, norm),
        },
      );
      return sandwiches(layer, (name) => norm(name, hidden), attention, gated(layer, hidden, inner));
    },
    finalNorm: norm(names.finalNorm, hidden),
    logits: softcapOf(config, "final_logit_softcapping"),
    tied: true,
    vocabulary: 262_208,
  });
}
