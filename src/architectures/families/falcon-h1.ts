// Falcon-H1: Mamba-2 beside attention in every layer, a feed-forward behind them, multipliers nearly everywhere. K has one
// before it enters the cache.

import { CheckpointError } from "../../errors.js";
import type { FeedForward } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, preNorm, residual, rmsNormOf, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import type { StateSpace } from "../state-space.js";
import { readStateSpaceSizes, readTimeStepLimits, stateSpaceOf } from "../state-space-parts.js";
import type { LayerNames } from "../tensor-names.js";

export function describeFalconH1(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 8 });
  const { hidden } = sizes;
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const attention = { rope: rotateAll(rope), keyMultiplier: config.positiveNumber("key_multiplier", 1) };
  const multipliers = {
    attention: multipliersOf(config, "attention_in_multiplier", "attention_out_multiplier"),
    mamba: multipliersOf(config, "ssm_in_multiplier", "ssm_out_multiplier"),
  };
  const mamba = mambaOf(config, hidden);
  const feedForward = feedForwardOf(config, hidden);
  config.ignoreIf("mamba_use_mlp", [undefined, true], "every layer has a feed-forward");
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    embedding: { multiplier: config.positiveNumber("embedding_multiplier", 1) },
    layer: (layer) => {
      const before = norm(layer.attentionNorm, hidden);
      const attended = groupedQuery(layer, sizes, { qkv: bias, output: bias }, attention);
      const { block, multiplier } = feedForward(layer);
      return [
        residual([
          { norm: before, block: mamba(layer), ...multipliers.mamba },
          { norm: before, block: attended, ...multipliers.attention },
        ]),
        preNorm(norm(layer.feedForwardNorm, hidden), block, multiplier),
      ];
    },
    finalNorm: norm(names.finalNorm, hidden),
    logits: { multiplier: config.positiveNumber("lm_head_multiplier", 1) },
  });
}

function multipliersOf(config: ModelConfig, before: string, behind: string) {
  return { inputMultiplier: config.positiveNumber(before, 1), multiplier: config.positiveNumber(behind, 1) };
}

/** `mlp_multipliers`: of the gate, and of what the feed-forward gives. */
function feedForwardOf(config: ModelConfig, hidden: number) {
  const [gateMultiplier = 1, multiplier = 1] = multiplierList(config, "mlp_multipliers", 2);
  const inner = {
    intermediate: config.positiveInteger("intermediate_size"),
    activation: readActivation(config),
    bias: config.boolean("mlp_bias", false),
  };
  const block = (names: LayerNames): FeedForward => ({ ...gated(names, hidden, inner), gateMultiplier });
  return (names: LayerNames) => ({ block: block(names), multiplier });
}

function mambaOf(config: ModelConfig, hidden: number): (names: LayerNames) => StateSpace {
  // null, not absence, means mamba_expand × hidden_size.
  const hasOwnWidth = config.has("mamba_d_ssm") || !config.mentions("mamba_d_ssm");
  if (hasOwnWidth) config.ignore("mamba_expand", "mamba_d_ssm takes its place");
  const width = hasOwnWidth ? config.positiveInteger("mamba_d_ssm", 1024) : undefined;
  const sizes = readStateSpaceSizes(config, hidden, width);
  const [gate = 1, x = 1, b = 1, c = 1, timeStep = 1] = multiplierList(config, "ssm_multipliers", 5);
  const hasNorm = config.boolean("mamba_rms_norm", false);
  if (!hasNorm) config.ignore("mamba_norm_before_gate", "mamba_rms_norm is false: there is no norm");
  const when = hasNorm && config.boolean("mamba_norm_before_gate", true) ? "before-gate" : "after-gate";
  const parts = {
    activation: readActivation(config),
    bias: {
      input: config.boolean("mamba_proj_bias", false),
      convolution: config.boolean("mamba_conv_bias", true),
      output: config.boolean("projectors_bias", false),
    },
    multipliers: { gate, x, b, c, timeStep },
    ...(hasNorm && { norm: { epsilon: config.positiveNumber("rms_norm_eps", 1e-5), when } as const }),
    ...readTimeStepLimits(config),
  };
  return (names) => stateSpaceOf(sizes, { name: names.of("mamba"), ...parts });
}

/** Empty where the key is absent: all are 1. @throws CheckpointError naming the key */
function multiplierList(config: ModelConfig, key: string, count: number): readonly number[] {
  const list = config.optionalNumbers(key) ?? [];
  if (list.length === 0 || list.length === count) return list;
  throw new CheckpointError(`${config.nameOf(key)}: expected ${count} numbers, found ${list.length}`);
}
