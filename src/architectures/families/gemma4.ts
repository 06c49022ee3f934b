// Gemma 4: norms of q, k and v, scores without scale, head sizes by type of layer, V from the projection of K, layers
// that share caches, per-layer embeddings, experts beside the feed-forward, and a factor for the whole of each layer.

import { UnsupportedModelError } from "../../errors.js";
import type { RmsNorm } from "../blocks.js";
import type { Decoder, Residual } from "../description.js";
import { readExpertsBeside } from "../experts-beside.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  headNorms,
  rmsNormOf,
  rotateAll,
  sandwiches,
  softcapOf,
  withoutWeight,
} from "../parts.js";
import { perLayerResiduals, readPerLayerEmbeddings } from "../per-layer-embeddings.js";
import type { Rope } from "../rope.js";
import { ropesByTypeAndSize } from "../rope-by-type.js";
import { cacheOwners, sharing, unreadBySharing } from "../shared-caches.js";
import { readActivation, readSizes } from "../sizes.js";
import { sizesByLayer } from "../sizes-by-layer.js";
import { tensorSource } from "../weight-source.js";
import { type AttentionType, typesByPattern, uniformWindow, windowsByType } from "../windows.js";

const DEFAULT_SIZES = { hidden: 2304, layers: 30, heads: 8, kvHeads: 4, headDim: 256 } as const;

export function describeGemma4(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, DEFAULT_SIZES);
  const { hidden } = sizes;
  if (config.has("use_bidirectional_attention") && config.string("use_bidirectional_attention") !== "vision") {
    throw new UnsupportedModelError(
      `${config.nameOf("use_bidirectional_attention")}: only "vision", which is about tokens of images, is understood`,
    );
  }
  const plainNorm = rmsNormOf(config);
  const norm = (name: string, size: number): RmsNorm => ({ ...plainNorm(name, size), product: "float32" });
  // transformers always gives the last layer full attention.
  const types = [...typesByPattern(config, sizes.layers, 6).slice(0, -1), "full_attention" as const];
  const isKeyValue = config.boolean("attention_k_eq_v", false);
  const ofLayers = sizesByLayer(config, sizes, types, 512, isKeyValue);
  const { ropes, ropeOf } = ropesByTypeAndSize(config, types, ofLayers, defaultRope);
  const windows = windowsByType(config, types, uniformWindow(config, 512));
  const owners = cacheOwners(config, types, 0);
  const bias = config.boolean("attention_bias", false);
  const isSharing = owners.some((owner) => owner !== undefined);
  const isDoubleWide = isSharing && config.boolean("use_double_wide_mlp", false);
  if (!isSharing) config.ignore("use_double_wide_mlp", "of layers that share a cache: there are none");
  const intermediate = config.positiveInteger("intermediate_size", 9216);
  const activation = readActivation(config, "hidden_activation", "gelu_pytorch_tanh");
  config.ignore("hidden_act", "hidden_activation is read");
  const experts = readExpertsBeside(config, hidden, norm, activation);
  const embeddings = readPerLayerEmbeddings(input, sizes, norm, activation);
  return decoderOf(input, {
    sizes,
    ropes,
    embedding: { multiplier: Math.sqrt(hidden) },
    ...(embeddings && { perLayerInputs: embeddings.inputs }),
    layer: (layer, index) => {
      const own = ofLayers[index] ?? sizes;
      const { rope, index: ropeIndex } = ropeOf(index);
      const whole = groupedQuery(
        layer,
        own,
        { qkv: bias, output: bias },
        {
          rope: { ...rotateAll(rope), rope: ropeIndex },
          ...{ scale: 1, window: windows[index], ...headNorms(layer, own, norm) },
          valueNorm: withoutWeight(norm("", own.headDim)),
        },
      );
      const attention = isKeyValue && types[index] === "full_attention" ? { ...whole, value: whole.key } : whole;
      const owner = owners[index];
      const factor = isDoubleWide && owner !== undefined ? 2 : 1;
      const [attending, feeding] = sandwiches(
        layer,
        (name) => norm(name, hidden),
        owner === undefined ? attention : sharing(attention, owner),
        gated(layer, hidden, { intermediate: factor * intermediate, activation }),
      );
      const residuals = [attending, experts(layer, feeding), ...perLayerResiduals(embeddings, layer, index)];
      const scale = tensorSource(layer.of("layer_scalar"), [1]);
      return residuals.map((each, at): Residual => (at === residuals.length - 1 ? { ...each, scale } : each));
    },
    unread: (layer, index) => (owners[index] === undefined ? [] : unreadBySharing(layer)),
    finalNorm: norm(names.finalNorm, hidden),
    logits: softcapOf(config, "final_logit_softcapping"),
    tied: true,
    vocabulary: 262_144,
  });
}

function defaultRope(type: AttentionType, dimensions: number): Rope {
  return type === "full_attention"
    ? { theta: 1_000_000, dimensions, scaling: { type: "proportional", factor: 1, share: 0.25 } }
    : { theta: 10_000, dimensions, scaling: { type: "default" } };
}
