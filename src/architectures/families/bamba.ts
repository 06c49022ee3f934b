// Bamba: Mamba-2 in most layers, attention that rotates half of each head in the others, a feed-forward in all.

import { UnsupportedModelError } from "../../errors.js";
import type { Block } from "../blocks.js";
import type { Decoder } from "../description.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, normsBefore, rmsNormOf, rotateAll } from "../parts.js";
import { type Rope, readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { readStateSpaceSizes, readTimeStepLimits, stateSpaceOf } from "../state-space-parts.js";
import type { LayerNames } from "../tensor-names.js";

export function describeBamba(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 8 });
  const { hidden } = sizes;
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const rope = readHalfRope(config, sizes.headDim);
  config.ignoreIf("attn_rotary_emb", [undefined, rope.dimensions], "says the same as partial_rotary_factor");
  const qkv = config.boolean("attention_bias", false);
  const activation = readActivation(config);
  const inner = {
    ...{ activation, intermediate: config.positiveInteger("intermediate_size") },
    bias: config.boolean("mlp_bias", false),
  };
  const hasAttention = new Set(config.optionalNumbers("attn_layer_indices"));
  const mamba = mambaWithNorm(config, hidden, 1e-5);
  config.ignore("z_loss_coefficient", "training only: a loss");
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer, index) => {
      const mixer = hasAttention.has(index)
        ? groupedQuery(layer, sizes, { qkv, output: qkv }, { rope: rotateAll(rope) })
        : mamba(layer);
      return normsBefore(layer, hidden, norm, [mixer, gated(layer, hidden, inner)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** Beside the RoPE parameters transformers passes over another share than a half. @throws UnsupportedModelError */
function readHalfRope(config: ModelConfig, headDim: number): Rope {
  const key = "partial_rotary_factor";
  const beside = config.peek(key);
  if (beside !== undefined && beside !== 0.5) {
    throw new UnsupportedModelError(
      `${config.nameOf(key)}: expected 0.5, as transformers has it, found ${shortJson(beside)}`,
    );
  }
  return readRope(config, headDim, { partial: 0.5 });
}

/** Mamba-2 with a norm behind the gate, as in Bamba and Granite. @param epsilon transformers' default */
export function mambaWithNorm(config: ModelConfig, hidden: number, epsilon: number): (names: LayerNames) => Block {
  const sizes = readStateSpaceSizes(config, hidden);
  const bias = config.boolean("mamba_proj_bias", false);
  const parts = {
    activation: readActivation(config),
    bias: { input: bias, convolution: config.boolean("mamba_conv_bias", true), output: bias },
    norm: { epsilon: config.positiveNumber("rms_norm_eps", epsilon), when: "after-gate" },
    ...readTimeStepLimits(config),
  } as const;
  return (names) => stateSpaceOf(sizes, { name: names.of("mamba"), ...parts });
}
