// Phi 3, 3.5 and 4: Llama with q, k and v in one tensor, gate and up in another; longrope, and in Phi-4-mini only
// partial RoPE.

import type { Decoder } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gatedFused,
  groupedQuery,
  preNorm,
  rmsNormOf,
  rotateAll,
  rowsOfFused,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { uniformWindow } from "../windows.js";

export const PHI3_NAMES: NameTable = { ...LLAMA_NAMES, anchor: "layers.0.self_attn.qkv_proj.weight" };

export function describePhi3(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const { hidden, heads, kvHeads, headDim } = sizes;
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const rope = readRope(config, headDim, { partial: 1 });
  config.ignore("original_max_position_embeddings", "only longrope has a use for it, and reads it");
  config.ignoreIf("full_attn_mod", [1], "what this family is anyway");
  config.ignoreIf("interpolate_factor", [1], "what this family is anyway");
  const window = uniformWindow(config);
  const intermediate = config.positiveInteger("intermediate_size");
  const activation = readActivation(config);
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const qkv = [heads * headDim, kvHeads * headDim, kvHeads * headDim] as const;
      const [query, key, value] = rowsOfFused(`${layer.attention}.qkv_proj`, hidden, qkv);
      return [
        preNorm(
          norm(layer.attentionNorm, hidden),
          groupedQuery(layer, sizes, {}, { rope: rotateAll(rope), window, query, key, value }),
        ),
        preNorm(norm(layer.feedForwardNorm, hidden), gatedFused(layer, hidden, { intermediate, activation })),
      ];
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}
