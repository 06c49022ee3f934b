// Gemma 3n: several streams of hidden states, per-layer embeddings, a residual of low rank beside attention, layers
// that share caches, and gates of which the first layers keep only the largest outputs.

import { CheckpointError } from "../../errors.js";
import { readAltUp } from "../alt-up.js";
import type { RmsNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { normalQuantile } from "../normal-quantile.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  headNorms,
  linear,
  rmsNormOf,
  rotateAll,
  sandwiches,
  softcapOf,
  withoutWeight,
} from "../parts.js";
import { readPerLayerEmbeddings } from "../per-layer-embeddings.js";
import { ROPE_OF_TYPE, ropesByType } from "../rope-by-type.js";
import { cacheOwners, sharing, unreadBySharing } from "../shared-caches.js";
import { readActivation, readSizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";
import { typesByPattern, uniformWindow, windowsByType } from "../windows.js";

const DEFAULT_SIZES = { hidden: 2048, layers: 35, heads: 8, kvHeads: 2, headDim: 256 } as const;

export function describeGemma3n(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, DEFAULT_SIZES);
  const { hidden, layers, headDim } = sizes;
  const plainNorm = rmsNormOf(config);
  const norm = (name: string, size: number): RmsNorm => ({ ...plainNorm(name, size), product: "float32" });
  const types = typesByPattern(config, layers, 5);
  const ropes = ropesByType(config, headDim);
  const windows = windowsByType(config, types, uniformWindow(config, 512));
  const owners = cacheOwners(config, types, 15);
  const bias = config.boolean("attention_bias", false);
  const intermediates = readIntermediates(config, layers);
  const sparsities = readSparsities(config, layers);
  const activation = readActivation(config, "hidden_activation", "gelu_pytorch_tanh");
  config.ignore("hidden_act", "hidden_activation is read");
  config.ignore("query_pre_attn_scalar", "scores are not scaled in Gemma 3n");
  const rank = config.positiveInteger("laurel_rank", 64);
  const embeddings = readPerLayerEmbeddings(input, sizes, norm, activation);
  if (embeddings === undefined) {
    throw new CheckpointError(`${config.nameOf("hidden_size_per_layer_input")}: expected a positive integer, found 0`);
  }
  const { streams, altUp, unread } = readAltUp(input, hidden, norm);
  const laurel = (layer: LayerNames) =>
    ({
      kind: "low-rank",
      left: linear(layer.of("laurel.linear_left"), hidden, rank),
      right: linear(layer.of("laurel.linear_right"), rank, hidden),
      norm: norm(layer.of("laurel.post_laurel_norm"), hidden),
    }) as const;
  return decoderOf(input, {
    sizes,
    ropes,
    embedding: { multiplier: Math.sqrt(hidden) },
    ...{ perLayerInputs: embeddings.inputs, streams },
    altUp: (layer, index) => altUp(layer, embeddings.block(layer, index)),
    layer: (layer, index) => {
      const rope = { ...rotateAll(ropes[0]), rope: ROPE_OF_TYPE[types[index] ?? "full_attention"] };
      const differences = { rope, scale: 1, window: windows[index], ...headNorms(layer, sizes, norm) };
      const valueNorm = withoutWeight(norm("", headDim));
      const attention = groupedQuery(layer, sizes, { qkv: bias, output: bias }, { ...differences, valueNorm });
      const owner = owners[index];
      const intermediate = intermediates[index] ?? 0;
      const share = sparsities[index] ?? 0;
      const [first, second] = sandwiches(
        layer,
        (name) => norm(name, hidden),
        owner === undefined ? attention : sharing(attention, owner),
        {
          ...gated(layer, hidden, { intermediate, activation }),
          ...(share > 0 && { gateCutoff: normalQuantile(Math.fround(share)) }),
        },
      );
      const beside = { norm: norm(layer.attentionNorm, hidden), block: laurel(layer) };
      return [{ branches: [first.branches[0], beside], scale: Math.SQRT1_2 }, second];
    },
    unread: (layer, index) => [...unread(layer), ...(owners[index] === undefined ? [] : unreadBySharing(layer))],
    finalNorm: norm(names.finalNorm, hidden),
    logits: softcapOf(config, "final_logit_softcapping", 30),
    tied: true,
    vocabulary: 262_400,
  });
}

/** One number, or one for each layer. */
function readIntermediates(config: ModelConfig, layers: number): number[] {
  const key = "intermediate_size";
  if (!Array.isArray(config.raw(key))) {
    const size = config.positiveInteger(key, 16_384);
    return Array.from({ length: layers }, () => size);
  }
  return config.numbersOfLayers(key, layers, (size) => Number.isSafeInteger(size) && size > 0);
}

/** Shares of a gate's outputs that become 0, by layer. */
function readSparsities(config: ModelConfig, layers: number): number[] {
  const key = "activation_sparsity_pattern";
  if (config.has(key)) return config.numbersOfLayers(key, layers, (share) => share >= 0 && share < 1);
  return Array.from({ length: layers }, (_, layer) => (layers > 10 && layer < 10 ? 0.95 : 0));
}
