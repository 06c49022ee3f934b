// Falcon: q, k and v in groups of rows, one for each KV head; attention and feed-forward parallel or in sequence. Its
// first models, which have ALiBi in place of a rotation, are refused.

import { UnsupportedModelError } from "../../errors.js";
import type { Block, Norm } from "../blocks.js";
import type { Decoder, Residual } from "../description.js";
import { plainAsSaid } from "../llama-like.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import {
  decoderOf,
  type FamilyInput,
  groupedQuery,
  groupsOfFused,
  layerNormOf,
  linear,
  normsBefore,
  residual,
  rotateAll,
  sideBySide,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";
import { GPT_NAMES, type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";

export const FALCON_NAMES: NameTable = {
  ...LLAMA_NAMES,
  anchor: "h.0.self_attention.query_key_value.weight",
  embedding: "word_embeddings",
  layers: GPT_NAMES.layers,
  attention: "self_attention",
  output: "dense",
  up: "dense_h_to_4h",
  down: "dense_4h_to_h",
  finalNorm: GPT_NAMES.finalNorm,
};

export function describeFalcon(input: FamilyInput): Decoder {
  const { config, names } = input;
  refuseAlibi(config);
  const { kvHeads: _, ...common } = readSizes(config);
  const { hidden, heads, layers, headDim } = common;
  config.ignoreIf("n_head", [heads], "says the same as num_attention_heads");
  config.ignoreIf("n_layer", [layers], "says the same as num_hidden_layers");
  const isNew = config.boolean("new_decoder_architecture", false);
  const kvHeads = readKvHeads(config, heads, isNew);
  if (config.has("num_key_value_heads") && config.peek("num_key_value_heads") !== kvHeads) {
    throw new UnsupportedModelError(
      `${config.nameOf("num_key_value_heads")}: ${shortJson(config.peek("num_key_value_heads"))} is not understood: by the keys of model_type "falcon" there are ${kvHeads} KV heads`,
    );
  }
  const sizes = { ...common, kvHeads };
  const norm = layerNormOf(config, "layer_norm_epsilon");
  const rope = readRope(config, headDim);
  const bias = config.boolean("bias", false);
  const arrange = readArrangement(config, isNew);
  const feedForward = plainAsSaid(config, hidden, "gelu", bias, {
    ...{ width: "ffn_hidden_size", act: "activation", defaultWidth: 4 * hidden },
  });
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const fused = linear(`${layer.attention}.query_key_value`, hidden, (heads + 2 * kvHeads) * headDim, bias);
      const [query, key, value] = groupsOfFused(fused, kvHeads, [(heads / kvHeads) * headDim, headDim, headDim]);
      const attention = groupedQuery(layer, sizes, { output: bias }, { rope: rotateAll(rope), query, key, value });
      return arrange(layer, (name) => norm(name, hidden), [attention, feedForward(layer)], hidden);
    },
    finalNorm: norm(names.finalNorm, hidden),
    tied: true,
  });
}

function refuseAlibi(config: ModelConfig): void {
  if (!config.boolean("alibi", false)) return;
  throw new UnsupportedModelError(
    `${config.nameOf("alibi")}: true is not supported: with ALiBi each score has a bias that grows with the distance, and attention here has no place for it. Checkpoints with a rotation (Falcon 7B, 11B, 40B and 180B) are supported.`,
  );
}

function readKvHeads(config: ModelConfig, heads: number, isNew: boolean): number {
  if (isNew) config.ignore("multi_query", "with new_decoder_architecture, num_kv_heads says it");
  else if (config.boolean("multi_query", true)) {
    config.ignore("num_kv_heads", "with multi_query there is one");
    return 1;
  }
  const kvHeads = config.positiveInteger("num_kv_heads", heads);
  if (isNew ? heads % kvHeads === 0 : kvHeads === heads) return kvHeads;
  throw new UnsupportedModelError(
    isNew
      ? `${config.nameOf("num_kv_heads")}: ${kvHeads} does not divide num_attention_heads (${heads})`
      : `${config.nameOf("num_kv_heads")}: ${kvHeads} is not supported with multi_query false: transformers has such layers with num_attention_heads (${heads}) alone`,
  );
}

type Arrange = (
  layer: LayerNames,
  norm: (name: string) => Norm,
  blocks: readonly [Block, Block],
  hidden: number,
) => Residual[];

/** The place of the norms. */
function readArrangement(config: ModelConfig, isNew: boolean): Arrange {
  const isParallel = config.boolean("parallel_attn", true);
  const norms = config.positiveInteger("num_ln_in_parallel_attn", isNew ? 2 : 1);
  if (isNew ? !isParallel || norms > 2 : isParallel && norms > 1) {
    throw new UnsupportedModelError(
      `${config.nameOf("num_ln_in_parallel_attn")}: ${norms} with new_decoder_architecture ${isNew} and parallel_attn ${isParallel} is not supported: transformers has no such layer`,
    );
  }
  if (!isParallel) return (layer, norm, blocks, hidden) => normsBefore(layer, hidden, norm, blocks);
  if (norms === 1) return (layer, norm, blocks) => [sideBySide(norm(layer.attentionNorm), blocks)];
  return (layer, norm, [attention, feedForward]) => [
    residual([
      { norm: norm(layer.of("ln_attn")), block: attention },
      { norm: norm(layer.of("ln_mlp")), block: feedForward },
    ]),
  ];
}
