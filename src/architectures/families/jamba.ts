// Jamba: Mamba-1 in most layers, attention without rotation in the others, experts in every second layer.

import { CheckpointError } from "../../errors.js";
import type { Block, ConvolvedProjection } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { expertsOf, mixture, readMixture, scoreRouter } from "../moe-parts.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  linear,
  normsBefore,
  rmsNormOf,
  rowsOfFused,
} from "../parts.js";
import { readActivation, readSizes } from "../sizes.js";
import type { NormedProjection, SelectiveScan } from "../state-space.js";
import type { LayerNames } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";

export function describeJamba(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 8 });
  const { hidden } = sizes;
  const norm = rmsNormOf(config);
  const hasAttention = everyNth(config, "attn_layer", 8, 4);
  const mamba = mambaOf(config, hidden);
  const feedForward = feedForwardOf(config, hidden);
  return decoderOf(input, {
    sizes,
    ropes: [],
    layer: (layer, index) => {
      const mixer = hasAttention(index) ? groupedQuery(layer, sizes) : mamba(layer);
      return normsBefore(layer, hidden, norm, [mixer, feedForward(layer, index)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** Whether a layer's number, divided by a period, leaves the offset. @throws CheckpointError naming the key */
function everyNth(config: ModelConfig, what: string, period: number, offset: number): (layer: number) => boolean {
  const every = config.positiveInteger(`${what}_period`, period);
  const first = config.count(`${what}_offset`, offset);
  if (first < every) return (layer) => layer % every === first;
  throw new CheckpointError(
    `${config.nameOf(`${what}_offset`)}: expected a number below ${what}_period (${every}), found ${first}`,
  );
}

/** One expert is a feed-forward. */
function feedForwardOf(config: ModelConfig, hidden: number): (names: LayerNames, layer: number) => Block {
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  if (config.positiveInteger("num_experts", 16) === 1) {
    const because = "num_experts is 1: no layer has a mixture";
    for (const key of ["expert_layer_period", "expert_layer_offset", "num_experts_per_tok"])
      config.ignore(key, because);
    return (names) => gated(names, hidden, inner);
  }
  const hasExperts = everyNth(config, "expert_layer", 2, 1);
  const sizes = readMixture(config, hidden, { experts: ["num_experts"], intermediate: "intermediate_size" });
  return (names, layer) => {
    if (!hasExperts(layer)) return gated(names, hidden, inner);
    return mixture(scoreRouter(`${names.feedForward}.router`, sizes), expertsOf(`${names.feedForward}.experts`, sizes));
  };
}

function mambaOf(config: ModelConfig, hidden: number): (names: LayerNames) => SelectiveScan {
  const norm = rmsNormOf(config);
  const channels = config.positiveInteger("mamba_expand", 2) * hidden;
  const stateSize = config.positiveInteger("mamba_d_state", 16);
  const kernel = config.positiveInteger("mamba_d_conv", 4);
  const isAuto = config.peek("mamba_dt_rank") === undefined || config.raw("mamba_dt_rank") === "auto";
  const rank = isAuto ? Math.ceil(hidden / 16) : config.positiveInteger("mamba_dt_rank");
  const bias = config.boolean("mamba_proj_bias", false);
  const hasConvolutionBias = config.boolean("mamba_conv_bias", true);
  const activation = readActivation(config);
  return (names) => {
    const of = (name: string) => `${names.of("mamba")}.${name}`;
    const [projection, gate] = rowsOfFused(of("in_proj"), hidden, [channels, channels] as const, bias);
    const [step, b, c] = rowsOfFused(of("x_proj"), channels, [rank, stateSize, stateSize] as const);
    const normed = (part: NormedProjection["projection"], name: string): NormedProjection => ({
      projection: part,
      norm: norm(of(name), part.outputs),
    });
    const convolution: ConvolvedProjection["convolution"] = {
      weight: tensorSource(of("conv1d.weight"), [channels, 1, kernel]),
      ...(hasConvolutionBias && { bias: tensorSource(of("conv1d.bias"), [channels]) }),
      ...{ channels, kernel },
    };
    return {
      kind: "selective-scan",
      ...{ channels, activation, gate },
      x: { projection, convolution },
      b: normed(b, "b_layernorm"),
      c: normed(c, "c_layernorm"),
      timeStepInput: normed(step, "dt_layernorm"),
      timeStep: linear(of("dt_proj"), rank, channels, true),
      decayLogRate: tensorSource(of("A_log"), [channels, stateSize]),
      skip: tensorSource(of("D"), [channels]),
      output: linear(of("out_proj"), channels, hidden, bias),
    };
  };
}
