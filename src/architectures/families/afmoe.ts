// AFMoE (Trinity): norms before and after each block, a gate on the output of attention, rotation only in layers with a
// window; sigmoid routers with a correction bias, shared experts, the first layers dense.

import type { Decoder } from "../description.js";
import { expertsOf, gatedAt, mixture, mixtureOrDense, OVER_SUM, readMixture, scoreRouter } from "../moe-parts.js";
import {
  decoderOf,
  type FamilyInput,
  groupedQuery,
  headNorms,
  linear,
  rmsNormOf,
  rotateAll,
  sandwich,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";
import { tensorSource } from "../weight-source.js";
import { slidingWindows, uniformWindow } from "../windows.js";

const AS_HERE = "what this family is anyway";

export function describeAfmoe(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { headDim: 128 });
  const { hidden, layers, heads, headDim } = sizes;
  const plainNorm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const norm = (name: string, size: number) => ({ ...plainNorm(name, size), product: "float32" }) as const;
  const rope = readRope(config, headDim);
  const period = config.has("layer_types") ? 1 : config.positiveInteger("global_attn_every_n_layers", 4);
  if (config.has("layer_types")) config.ignore("global_attn_every_n_layers", "layer_types takes its place");
  const windows = slidingWindows(config, layers, uniformWindow(config, 1024), (layer) => (layer + 1) % period !== 0);
  const bias = config.boolean("attention_bias", false);
  const experts = readMixture(config, hidden, { experts: ["num_experts", "num_local_experts"] });
  const sharedWidth = experts.intermediate * config.positiveInteger("num_shared_experts", 2);
  const multiplier = config.number("route_scale", 1);
  for (const key of ["n_group", "topk_group", "num_expert_groups", "num_limited_groups"]) {
    config.ignoreIf(key, [1], AS_HERE);
  }
  config.ignoreIf("score_func", ["sigmoid"], AS_HERE);
  config.ignoreIf("route_norm", [true], AS_HERE);
  const dense = config.count("num_dense_layers", 1);
  const hasExperts = Array.from({ length: layers }, (_, layer) => layer >= dense);
  const feedForward = mixtureOrDense(config, hidden, hasExperts, ({ feedForward: prefix }) => {
    const router = scoreRouter(`${prefix}.router.gate`, experts, {
      score: "sigmoid",
      correction: tensorSource(`${prefix}.expert_bias`, [experts.experts]),
      normalised: { ...OVER_SUM, epsilon: 1e-20 },
      multiplier,
    });
    const inner = { intermediate: sharedWidth, activation: experts.activation };
    const shared = { feedForward: gatedAt(`${prefix}.shared_experts`, hidden, inner) };
    return mixture(router, expertsOf(`${prefix}.experts`, experts), shared);
  });
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    ...(config.boolean("mup_enabled", false) && { embedding: { multiplier: Math.sqrt(hidden) } }),
    layer: (layer, index) => {
      const window = windows[index];
      const projection = linear(`${layer.attention}.gate_proj`, hidden, heads * headDim);
      const differences = {
        ...(window !== undefined && { rope: rotateAll(rope) }),
        ...{ window, gate: { projection, activation: "sigmoid" } as const },
        ...headNorms(layer, sizes, norm),
      };
      const attention = groupedQuery(layer, sizes, { qkv: bias, output: bias }, differences);
      const around = (before: string, behind: string) =>
        [norm(layer.of(before), hidden), norm(layer.of(behind), hidden)] as const;
      const [attentionNorm, attentionPost] = around("input_layernorm", "post_attention_layernorm");
      const [feedForwardNorm, feedForwardPost] = around("pre_mlp_layernorm", "post_mlp_layernorm");
      return [
        sandwich(attentionNorm, attention, attentionPost),
        sandwich(feedForwardNorm, feedForward(layer, index), feedForwardPost),
      ];
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}
