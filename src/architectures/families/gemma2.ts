// Gemma 2: norms before and after blocks, soft caps of scores and logits, a window in every other layer. VaultGemma is
// the same without the norms after the blocks.

import type { Decoder } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  plusOneNormOf,
  preNorm,
  rotateAll,
  sandwiches,
  softcapOf,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { typesByPattern, uniformWindow, windowsByType } from "../windows.js";

const DEFAULT_SIZES = { hidden: 2304, layers: 26, heads: 8, kvHeads: 4, headDim: 256 } as const;

export function describeGemma2(input: FamilyInput): Decoder {
  return describe(input, true);
}

export function describeVaultGemma(input: FamilyInput): Decoder {
  return describe(input, false);
}

function describe(input: FamilyInput, hasNormsBehind: boolean): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, DEFAULT_SIZES);
  const { hidden } = sizes;
  const norm = plusOneNormOf(config);
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const windows = windowsByType(config, typesByPattern(config, sizes.layers, 2), uniformWindow(config, 4096));
  const softcap = softcapOf(config, "attn_logit_softcapping", 50);
  const scale = config.positiveNumber("query_pre_attn_scalar", 256) ** -0.5;
  config.ignore("hidden_act", "hidden_activation is read");
  const inner = {
    intermediate: config.positiveInteger("intermediate_size", 9216),
    activation: readActivation(config, "hidden_activation", "gelu_pytorch_tanh"),
  };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    embedding: { multiplier: Math.sqrt(hidden) },
    layer: (layer, index) => {
      const attention = groupedQuery(
        layer,
        sizes,
        { qkv: bias, output: bias },
        { rope: rotateAll(rope), scale, window: windows[index], ...softcap },
      );
      const feedForward = gated(layer, hidden, inner);
      if (hasNormsBehind) return sandwiches(layer, (name) => norm(name, hidden), attention, feedForward);
      return [
        preNorm(norm(layer.attentionNorm, hidden), attention),
        preNorm(norm(layer.of("pre_feedforward_layernorm"), hidden), feedForward),
      ];
    },
    finalNorm: norm(names.finalNorm, hidden),
    logits: softcapOf(config, "final_logit_softcapping", 30),
    tied: true,
    vocabulary: 256_000,
  });
}
