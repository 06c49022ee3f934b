// GLM-4 of 2024 and GLM-4-0414: interleaved RoPE on half of each head; gate and up in one tensor; biases of q, k
// and v. The newer one has norms after the blocks, too. The text parts of GLM-4.1V and GLM-OCR are the newer one with
// M-RoPE.

import type { Norm } from "../blocks.js";
import type { Decoder, Residual } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gatedFused,
  groupedQuery,
  normsBefore,
  rmsNormOf,
  rotateAll,
  sandwich,
} from "../parts.js";
import { type RopeReading, readRope } from "../rope.js";
import { readActivation, readSizes, type Sizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";

export function describeGlm(input: FamilyInput): Decoder {
  const arrange: Arrange = (layer, hidden, norm, blocks) => normsBefore(layer, hidden, norm, blocks);
  return glmDecoder(input, { ...ofText(input), arrange });
}

export function describeGlm4(input: FamilyInput): Decoder {
  return glmDecoder(input, { ...ofText(input), arrange: normsAround });
}

export function describeGlm4v(input: FamilyInput): Decoder {
  return glmDecoder(input, { ...withSections(input), qkv: true, arrange: normsAround });
}

/** Released files have a layer behind the last that predicts further tokens, whether config.json counts it or not. */
export function describeGlmOcr(input: FamilyInput): Decoder {
  const decoder = glmDecoder(input, { ...withSections(input), qkv: false, arrange: normsAround });
  return { ...decoder, nextTokenLayers: input.config.count("num_nextn_predict_layers", 1) };
}

/** Differences between the families. */
interface Glm {
  readonly sizes: Sizes;
  readonly epsilon: number;
  readonly rope: RopeReading;
  /** Whether q, k and v have biases. */
  readonly qkv: boolean;
  readonly arrange: Arrange;
}

function ofText({ config }: FamilyInput): Omit<Glm, "arrange"> {
  const sizes = readSizes(config, { kvHeads: 2, headDim: 128 });
  return { sizes, epsilon: 1.5625e-7, rope: { partial: 0.5 }, qkv: config.boolean("attention_bias", true) };
}

function withSections({ config }: FamilyInput): Omit<Glm, "arrange" | "qkv"> {
  return { sizes: readSizes(config, { kvHeads: 2 }), epsilon: 1e-5, rope: { partial: 1, hasSections: true } };
}

/** The place of the norms. */
type Arrange = (
  layer: LayerNames,
  hidden: number,
  norm: (name: string, size: number) => Norm,
  blocks: readonly [ReturnType<typeof groupedQuery>, ReturnType<typeof gatedFused>],
) => Residual[];

const normsAround: Arrange = (layer, hidden, norm, [attention, feedForward]) => [
  sandwich(norm(layer.attentionNorm, hidden), attention, norm(layer.of("post_self_attn_layernorm"), hidden)),
  sandwich(norm(layer.feedForwardNorm, hidden), feedForward, norm(layer.of("post_mlp_layernorm"), hidden)),
];

function glmDecoder(input: FamilyInput, { sizes, epsilon, rope: reading, qkv, arrange }: Glm): Decoder {
  const { config, names } = input;
  const { hidden } = sizes;
  const norm = rmsNormOf(config, "rms_norm_eps", epsilon);
  const rope = readRope(config, sizes.headDim, reading);
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const rotation = { ...rotateAll(rope), pairing: "neighbours" } as const;
      const attention = groupedQuery(layer, sizes, { qkv }, { rope: rotation });
      return arrange(layer, hidden, norm, [attention, gatedFused(layer, hidden, inner)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}
