// Qwen's hybrids, from Qwen3-Next on: gated DeltaNet in most layers, attention with a gate from the projection of q in the
// others. A family says its projections and feed-forwards. Pure data out; reads no files.

import type { Attention, Block, GatedDeltaNet, Norm } from "./blocks.js";
import type { Decoder } from "./description.js";
import {
  type DeltaProjections,
  type DeltaSizes,
  fusedConvolutions,
  gatedDeltaNet,
  hybridTypes,
  readDeltaSizes,
} from "./gated-delta-parts.js";
import type { ModelConfig } from "./model-config.js";
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
} from "./parts.js";
import { type Rope, type RopeReading, readRope } from "./rope.js";
import { readActivation, type Sizes } from "./sizes.js";
import type { LayerNames } from "./tensor-names.js";

/** What families differ in. */
interface QwenHybrid {
  readonly sizes: Sizes;
  readonly rope?: RopeReading;
  /** @param name prefix of the block's tensors */
  readonly projections: (name: string, sizes: DeltaSizes) => DeltaProjections;
  readonly feedForward: (names: LayerNames, layer: number) => Block;
}

/** Qwen's layers with gated DeltaNet or attention. */
export function qwenHybrid(input: FamilyInput, hybrid: QwenHybrid): Decoder {
  const { config, names } = input;
  const { sizes, projections, feedForward } = hybrid;
  const norm = plusOneNormOf(config);
  const headNorm = rmsNormOf(config);
  const rope = readRope(config, sizes.headDim, { partial: 0.25, ...hybrid.rope });
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
