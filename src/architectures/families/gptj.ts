// GPT-J: parallel attention and feed-forward after one norm, partial interleaved RoPE.

import type { Decoder } from "../description.js";
import { plainAsSaid } from "../llama-like.js";
import { decoderOf, type FamilyInput, groupedQuery, layerNormOf, rotateAll, sideBySide } from "../parts.js";
import type { Rope } from "../rope.js";
import { readGptSizes } from "../sizes.js";
import { GPT_NAMES, type NameTable } from "../tensor-names.js";

export const GPTJ_NAMES: NameTable = {
  ...GPT_NAMES,
  anchor: "h.0.attn.k_proj.weight",
  output: "out_proj",
  up: "fc_in",
  down: "fc_out",
};

export function describeGptJ(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readGptSizes(config);
  const { hidden } = sizes;
  const norm = layerNormOf(config, "layer_norm_epsilon");
  const rope: Rope = {
    theta: 10000,
    dimensions: config.positiveInteger("rotary_dim", 64),
    scaling: { type: "default" },
  };
  config.ignoreIf("rotary", [true], "what this family is anyway");
  config.ignoreIf("scale_attn_weights", [true], "what this family is anyway");
  const feedForward = plainAsSaid(config, hidden, "gelu_new", true, {
    ...{ width: "n_inner", act: "activation_function", defaultWidth: 4 * hidden },
  });
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const attention = groupedQuery(layer, sizes, {}, { rope: { ...rotateAll(rope), pairing: "neighbours" } });
      return [sideBySide(norm(layer.attentionNorm, hidden), [attention, feedForward(layer)])];
    },
    finalNorm: norm(names.finalNorm, hidden),
    logits: { bias: `${names.head}.bias` },
  });
}
