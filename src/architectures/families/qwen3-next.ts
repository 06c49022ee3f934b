// Qwen3-Next: gated DeltaNet in three of four layers, attention with a gate from the projection of q in the others; experts
// with a shared one, or feed-forwards. Qwen3.5 is built like it.

import type { Attention, Block, GatedDeltaNet, Norm } from "../blocks.js";
import type { Decoder } from "../description.js";
import {
  type DeltaSizes,
  fusedConvolutions,
  gatedDeltaNet,
  hybridTypes,
  readDeltaSizes,
} from "../gated-delta-parts.js";
import type { ModelConfig } from "../model-config.js";
import {
  expertsOf,
  gatedAt,
  type MixtureSizes,
  mixture,
  mixtureOrDense,
  normalisedAsSaid,
  readMixture,
  scoreRouter,
  sparseSteps,
} from "../moe-parts.js";
import {
  decoderOf,
  type FamilyInput,
  groupedQuery,
  groupsOfFused,
  headNorms,
  linear,
  normsBefore,
  plusOneNormOf,
  rmsNormOf,
  rotateAll,
} from "../parts.js";
import { type Rope, readRope } from "../rope.js";
import { readActivation, readSizes, type Sizes } from "../sizes.js";
import { type LayerNames, LLAMA_NAMES } from "../tensor-names.js";

/** Not every layer has attention. */
export const QWEN3_NEXT_NAMES = { ...LLAMA_NAMES, anchor: "layers.0.input_layernorm.weight" };

export function describeQwen3Next(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 2, headDim: 256 });
  const experts = readMixture(config, sizes.hidden);
  const router = normalisedAsSaid(config, true);
  const width = config.positiveInteger("shared_expert_intermediate_size", 512);
  return qwenHybrid(input, {
    sizes,
    projections: (name, delta) => {
      const { hidden, keyHeads, valueHeads, keyDim, valueDim } = delta;
      const each = valueHeads / keyHeads;
      const qkvz = linear(`${name}.in_proj_qkvz`, hidden, 2 * keyHeads * keyDim + 2 * valueHeads * valueDim);
      const parts = [keyDim, keyDim, each * valueDim, each * valueDim] as const;
      const [query, key, value, gate] = groupsOfFused(qkvz, keyHeads, parts);
      const ba = linear(`${name}.in_proj_ba`, hidden, 2 * valueHeads);
      const [beta, decay] = groupsOfFused(ba, keyHeads, [each, each] as const);
      return { query, key, value, gate, beta, decay };
    },
    feedForward: mixtureOrDense(config, sizes.hidden, sparseSteps(config, sizes.layers), ({ feedForward }) =>
      mixture(scoreRouter(`${feedForward}.gate`, experts, router), expertsOf(`${feedForward}.experts`, experts), {
        ...gatedSharedExpert(feedForward, experts, width),
      }),
    ),
  });
}

/** The shared expert of Qwen. @param prefix of the mixture's tensors */
export function gatedSharedExpert(prefix: string, experts: MixtureSizes, intermediate: number) {
  return {
    feedForward: gatedAt(`${prefix}.shared_expert`, experts.hidden, { ...experts, intermediate }),
    gate: linear(`${prefix}.shared_expert_gate`, experts.hidden, 1),
  };
}

interface QwenHybrid {
  readonly sizes: Sizes;
  readonly projections: (name: string, sizes: DeltaSizes) => Parameters<typeof gatedDeltaNet>[1]["projections"];
  readonly feedForward: (names: LayerNames, layer: number) => Block;
}

/** Qwen's layers with gated DeltaNet or attention. */
export function qwenHybrid(input: FamilyInput, { sizes, projections, feedForward }: QwenHybrid): Decoder {
  const { config, names } = input;
  const norm = plusOneNormOf(config);
  const headNorm = rmsNormOf(config);
  const rope = readRope(config, sizes.headDim, { partial: 0.25 });
  const bias = config.boolean("attention_bias", false);
  const delta = readDeltaSizes(config, sizes.hidden, {
    ...{ keyHeads: 16, valueHeads: 32 },
    ...{ keyDim: () => 128, valueDim: () => 128 },
  });
  const activation = readActivation(config);
  const types = typesByInterval(config, sizes.layers);
  const deltaNet = (layer: LayerNames): GatedDeltaNet => {
    const name = layer.of("linear_attn");
    return gatedDeltaNet(delta, {
      ...{ name, activation, output: "out_proj" },
      projections: projections(name, delta),
      convolutions: fusedConvolutions(`${name}.conv1d`, delta),
      norm: headNorm(`${name}.norm`, delta.valueDim),
    });
  };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer, index) => {
      const mixer =
        types[index] === "full_attention" ? gatedQuery(layer, sizes, { bias, rope, norm }) : deltaNet(layer);
      return normsBefore(layer, sizes.hidden, norm, [mixer, feedForward(layer, index)]);
    },
    finalNorm: norm(names.finalNorm, sizes.hidden),
  });
}

interface GatedQuery {
  readonly bias: boolean;
  readonly rope: Rope;
  readonly norm: (name: string, size: number) => Norm;
}

/** Attention with the gate of each head behind its queries, in one tensor. */
function gatedQuery(layer: LayerNames, sizes: Sizes, { bias, rope, norm }: GatedQuery): Attention {
  const { hidden, heads, headDim } = sizes;
  const both = linear(layer.inAttention("query"), hidden, 2 * heads * headDim, bias);
  const [query, projection] = groupsOfFused(both, heads, [headDim, headDim] as const);
  const biases = { qkv: bias, output: bias };
  const gate = { projection, activation: "sigmoid" } as const;
  return groupedQuery(layer, sizes, biases, { query, gate, rope: rotateAll(rope), ...headNorms(layer, sizes, norm) });
}

function typesByInterval(config: ModelConfig, layers: number) {
  if (config.has("layer_types")) config.ignore("full_attention_interval", "layer_types takes its place");
  const interval = config.has("layer_types") ? 1 : config.positiveInteger("full_attention_interval", 4);
  return hybridTypes(config, layers, (layer) => (layer + 1) % interval === 0);
}
