// OLMo Hybrid: gated DeltaNet in three of four layers with the norms before its blocks, OLMo 2's attention in the others with
// the norms behind them. Most checkpoints do not rotate.

import type { GatedDeltaNet, RmsNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { gatedDeltaNet, hybridTypes, readDeltaSizes } from "../gated-delta-parts.js";
import type { ModelConfig } from "../model-config.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  linear,
  normsBehind,
  preNorm,
  projectionNorms,
  rmsNormOf,
  rotateAll,
} from "../parts.js";
import { type Rope, readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { type LayerNames, LLAMA_NAMES } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";

/** Not every layer has attention, nor the same norms. */
export const OLMO_HYBRID_NAMES = { ...LLAMA_NAMES, anchor: "layers.0.mlp.down_proj.weight" };

/** The norm with the gate has an epsilon of its own, whatever config.json says. */
const GATED_NORM_EPSILON = 1e-5;

export function describeOlmoHybrid(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const { hidden, layers, heads } = sizes;
  const plainNorm = rmsNormOf(config);
  const norm = (name: string, size: number): RmsNorm => ({ ...plainNorm(name, size), product: "float32" });
  const rope = readRopeUnlessNull(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const activation = readActivation(config);
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation };
  const delta = readDeltaSizes(config, hidden, {
    ...{ keyHeads: heads, valueHeads: heads },
    ...{ keyDim: (keyHeads) => Math.floor((0.75 * hidden) / keyHeads), valueDim: (keyDim) => 2 * keyDim },
  });
  const betaMultiplier = config.boolean("linear_allow_neg_eigval", true) ? 2 : 1;
  for (const key of ["a_log_min", "a_log_max", "dt_min", "dt_max", "dt_init_floor"]) {
    config.ignore(`linear_${key}`, "training only: the first weights");
  }
  const deltaNet = (layer: LayerNames): GatedDeltaNet => {
    const name = layer.of("linear_attn");
    const [keys, values] = [delta.keyHeads * delta.keyDim, delta.valueHeads * delta.valueDim];
    const own = (part: string, outputs: number) => linear(`${name}.${part}_proj`, hidden, outputs);
    const convolution = (part: string, channels: number) =>
      tensorSource(`${name}.${part}_conv1d.weight`, [channels, 1, delta.kernel]);
    return gatedDeltaNet(delta, {
      ...{ name, activation, output: "o_proj", ...(betaMultiplier !== 1 && { betaMultiplier }) },
      projections: {
        ...{ query: own("q", keys), key: own("k", keys), value: own("v", values), gate: own("g", values) },
        ...{ beta: own("b", delta.valueHeads), decay: own("a", delta.valueHeads) },
      },
      convolutions: {
        query: convolution("q", keys),
        key: convolution("k", keys),
        value: convolution("v", values),
      },
      norm: { ...plainNorm(`${name}.o_norm`, delta.valueDim), epsilon: GATED_NORM_EPSILON },
    });
  };
  const types = hybridTypes(config, layers, (layer) => layer % 4 === 3 || (layers < 4 && layer === layers - 1));
  return decoderOf(input, {
    sizes,
    ropes: rope === undefined ? [] : [rope],
    layer: (layer, index) => {
      const feedForward = gated(layer, hidden, inner);
      if (types[index] === "linear_attention") {
        // Older checkpoints have other names.
        const named = (older: string, newer: string) =>
          norm(layer.of(names.has(`${layer.of(older)}.weight`) ? older : newer), hidden);
        return [
          preNorm(named("attention_layer_norm", "input_layernorm"), deltaNet(layer)),
          preNorm(named("feedforward_layer_norm", "post_attention_layernorm"), feedForward),
        ];
      }
      const norms = projectionNorms(layer, sizes, norm);
      const attention = groupedQuery(
        layer,
        sizes,
        { qkv: bias, output: bias },
        {
          ...(rope && { rope: rotateAll(rope) }),
          ...norms,
        },
      );
      return normsBehind(layer, hidden, norm, [attention, feedForward]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** A `rope_theta` that is null means no rotation; one that is absent means transformers' default. */
function readRopeUnlessNull(config: ModelConfig, headDim: number): Rope | undefined {
  const parameters = config.optionalObject("rope_parameters");
  const where = parameters?.mentions("rope_theta") ? parameters : config;
  if (!where.mentions("rope_theta") || where.has("rope_theta")) return readRope(config, headDim);
  parameters?.ignore("rope_type", "nothing rotates");
  return undefined;
}
