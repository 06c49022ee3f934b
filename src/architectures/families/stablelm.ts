// StableLM: layer norms, partial RoPE; optionally parallel attention and feed-forward, and norms of q and k with
// weights of their own for each head.

import type { Attention, LayerNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  layerNormOf,
  normsBefore,
  rotateAll,
  sideBySide,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes, type Sizes } from "../sizes.js";
import { type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";

export const STABLELM_NAMES: NameTable = { ...LLAMA_NAMES, queryNorm: "q_layernorm", keyNorm: "k_layernorm" };

export function describeStableLm(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 32 });
  const { hidden } = sizes;
  const norm = layerNormOf(config, "layer_norm_eps");
  const rope = readRope(config, sizes.headDim, { partial: 0.25 });
  const qkv = config.boolean("use_qkv_bias", false);
  const hasHeadNorms = config.boolean("qk_layernorm", false);
  const isParallel = config.boolean("use_parallel_residual", false);
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const norms = hasHeadNorms ? normsByHead(layer, sizes, config.positiveNumber("layer_norm_eps", 1e-5)) : {};
      const attention = groupedQuery(layer, sizes, { qkv }, { rope: rotateAll(rope), ...norms });
      const blocks = [attention, gated(layer, hidden, inner)] as const;
      if (isParallel) return [sideBySide(norm(layer.attentionNorm, hidden), blocks)];
      return normsBefore(layer, hidden, norm, blocks);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

function normsByHead(
  layer: LayerNames,
  { heads, kvHeads, headDim }: Sizes,
  epsilon: number,
): Pick<Attention, "queryNorm" | "keyNorm"> {
  const weightOf = (name: string, head: number) => tensorSource(`${name}.norms.${head}.weight`, [headDim]);
  const over = (name: string, count: number) => {
    const others = Array.from({ length: count - 1 }, (_, other) => weightOf(name, other + 1));
    const weight = { kind: "stacked", of: [weightOf(name, 0), ...others] } as const;
    const norm: LayerNorm = { kind: "layer", size: headDim, epsilon, weight };
    return { norm, over: "head", when: "before-rotation" } as const;
  };
  return {
    queryNorm: over(layer.inAttention("queryNorm"), heads),
    keyNorm: over(layer.inAttention("keyNorm"), kvHeads),
  };
}
