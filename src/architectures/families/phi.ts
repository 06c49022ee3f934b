// Phi 1, 1.5 and 2: parallel attention and feed-forward after one layer norm, biases everywhere, partial RoPE.

import type { Decoder } from "../description.js";
import { plainAsSaid } from "../llama-like.js";
import { decoderOf, type FamilyInput, groupedQuery, headNorms, layerNormOf, rotateAll, sideBySide } from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";
import { LLAMA_NAMES, type NameTable } from "../tensor-names.js";

export const PHI_NAMES: NameTable = {
  ...LLAMA_NAMES,
  output: "dense",
  queryNorm: "q_layernorm",
  keyNorm: "k_layernorm",
  up: "fc1",
  down: "fc2",
  finalNorm: "final_layernorm",
};

export function describePhi(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const { hidden } = sizes;
  const norm = layerNormOf(config, "layer_norm_eps");
  const rope = readRope(config, sizes.headDim, { partial: 0.5 });
  config.ignoreIf("rotary_dim", [rope.dimensions], "says the same as partial_rotary_factor");
  config.ignore("attention_bias", "Phi has biases whatever this says, and Phi-1 says false");
  const hasHeadNorms = config.boolean("qk_layernorm", false);
  const feedForward = plainAsSaid(config, hidden, "gelu_new", true);
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const norms = hasHeadNorms ? headNorms(layer, sizes, norm) : {};
      const attention = groupedQuery(layer, sizes, { qkv: true, output: true }, { rope: rotateAll(rope), ...norms });
      return [sideBySide(norm(layer.attentionNorm, hidden), [attention, feedForward(layer)])];
    },
    finalNorm: norm(names.finalNorm, hidden),
    logits: { bias: `${names.head}.bias` },
  });
}
