// Laguna: a softplus gate on what attention gives, heads and rotation by layer; sigmoid routers with a correction bias
// and a soft cap, a shared expert, the first layer dense.

import { CheckpointError, UnsupportedModelError } from "../../errors.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import {
  expertsOf,
  gatedAt,
  mixture,
  mixtureOrDense,
  mlpLayerTypes,
  OVER_SUM,
  readMixture,
  scoreRouter,
} from "../moe-parts.js";
import {
  decoderOf,
  type FamilyInput,
  groupedQuery,
  headNorms,
  linear,
  normsBefore,
  rmsNormOf,
  rotateAll,
} from "../parts.js";
import { readRopesByWindow } from "../rope.js";
import { readSizes, type Sizes } from "../sizes.js";
import { tensorSource } from "../weight-source.js";
import { slidingWindows, uniformWindow } from "../windows.js";

export function describeLaguna(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 8, headDim: 128 });
  const { hidden, layers, headDim } = sizes;
  const norm = rmsNormOf(config);
  const windows = slidingWindows(config, layers, uniformWindow(config, 512), () => false);
  const [full, sliding] = readRopesByWindow(config, headDim, windows, {
    full: { defaultTheta: 500_000, partial: 1, absent: { rope_theta: 500_000, partial_rotary_factor: 0.5 } },
    sliding: { defaultTheta: 10_000, partial: 1, absent: { rope_theta: 10_000 } },
  });
  const heads = readHeads(config, sizes);
  const bias = config.boolean("attention_bias", false);
  const isPerHead = readGating(config);
  const feedForward = readFeedForwards(config, sizes);
  return decoderOf(input, {
    sizes,
    ropes: [full, sliding],
    layer: (layer, index) => {
      const window = windows[index];
      const own = { ...sizes, heads: heads[index] ?? sizes.heads };
      const projection = linear(`${layer.attention}.g_proj`, hidden, own.heads * (isPerHead ? 1 : headDim));
      const rope = window === undefined ? rotateAll(full) : { ...rotateAll(sliding), rope: 1 };
      const gate = { projection, activation: "softplus" } as const;
      const differences = { rope, window, gate, ...headNorms(layer, own, norm) };
      const attention = groupedQuery(layer, own, { qkv: bias, output: bias }, differences);
      return normsBefore(layer, hidden, norm, [attention, feedForward(layer, index)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** `num_attention_heads_per_layer`, or the same number in all layers. */
function readHeads(config: ModelConfig, { layers, heads, kvHeads }: Sizes): readonly number[] {
  const key = "num_attention_heads_per_layer";
  if (config.has(key)) config.ignore("num_attention_heads", "num_attention_heads_per_layer says it for each layer");
  const list = config.optionalNumbers(key) ?? Array.from({ length: layers }, () => heads);
  if (list.length === layers && list.every((count) => count > 0 && count % kvHeads === 0)) return list;
  throw new CheckpointError(
    `${config.nameOf(key)}: expected ${layers} multiples of num_key_value_heads (${kvHeads}), found ${list.join(", ")}`,
  );
}

/** Whether there is a gate per head; else per element. */
function readGating(config: ModelConfig): boolean {
  const gating = config.raw("gating") ?? true;
  const isPerHead = gating === true || gating === "per-head";
  const types = config.optionalStrings("gating_types") ?? [];
  const expected = isPerHead ? "per_head" : "per_element";
  if ((isPerHead || gating === "per-element") && types.every((type) => type === expected)) return isPerHead;
  throw new UnsupportedModelError(
    `${config.nameOf("gating")}: ${JSON.stringify(gating)}, with gating_types ${JSON.stringify(types)}, is not supported; supported: "per-head" and "per-element", the same in all layers`,
  );
}

function readFeedForwards(config: ModelConfig, { hidden, layers }: Sizes) {
  const experts = readMixture(config, hidden);
  const multiplier = config.number("moe_routed_scaling_factor", 1);
  const softcap = config.number("moe_router_logit_softcapping", 0);
  const intermediate = config.positiveInteger("shared_expert_intermediate_size", 512);
  config.ignoreIf("norm_topk_prob", [true], "what this family is anyway");
  const types = mlpLayerTypes(config, layers);
  for (const key of types === undefined ? [] : ["decoder_sparse_step", "mlp_only_layers"]) {
    config.ignore(key, "mlp_layer_types says which layers have experts");
  }
  const hasExperts = types ?? Array.from({ length: layers }, (_, layer) => layer > 0);
  return mixtureOrDense(config, hidden, hasExperts, ({ feedForward: prefix }) => {
    const router = scoreRouter(`${prefix}.gate`, experts, {
      score: "sigmoid",
      correction: tensorSource(`${prefix}.experts.e_score_correction_bias`, [experts.experts]),
      normalised: OVER_SUM,
      multiplier,
      ...(softcap > 0 && { softcap }),
    });
    const inner = { intermediate, activation: experts.activation };
    const shared = { feedForward: gatedAt(`${prefix}.shared_expert`, hidden, inner) };
    return mixture(router, expertsOf(`${prefix}.experts`, experts), shared);
  });
}
