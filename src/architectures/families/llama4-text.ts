// Llama 4: chunks of positions in layers that rotate, no rotation in every fourth layer; one expert per token, whose
// input is multiplied by its weight, beside a shared one; experts in two stacks stored inputs first.

import { CheckpointError } from "../../errors.js";
import type { Attention, Block, HeadNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import { expertsOfStacks, gatedAt, mixture, readMixture, scoreRouter } from "../moe-parts.js";
import { decoderOf, type FamilyInput, gated, groupedQuery, normsBefore, rmsNormOf } from "../parts.js";
import { type Rope, readRope } from "../rope.js";
import { readSizes, type Sizes } from "../sizes.js";
import { type LayerNames, LLAMA_NAMES, type NameTable } from "../tensor-names.js";
import { layerTypes } from "../windows.js";

export const LLAMA4_NAMES: NameTable = { ...LLAMA_NAMES, feedForward: "feed_forward" };

/** For queries that are scaled by position and do not rotate. */
const NOTHING_TURNS: Rope["scaling"] = { type: "proportional", factor: 1, share: 0 };

export function describeLlama4Text(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 8, headDim: 128 });
  const { hidden, layers, headDim } = sizes;
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const rope = readRope(config, headDim, { defaultTheta: 500_000 });
  const growth = readTemperature(config);
  const rotates = readRotatingLayers(config, layers);
  const chunks = readChunks(config, layers, rotates);
  const bias = config.boolean("attention_bias", false);
  const l2: HeadNorm = {
    norm: { kind: "rms", size: headDim, epsilon: config.positiveNumber("rms_norm_eps", 1e-5) },
    ...{ over: "head", when: "after-rotation" },
  };
  const hasNorms = config.boolean("use_qk_norm", true);
  const feedForward = readFeedForwards(config, sizes);
  const attention = (layer: LayerNames, index: number): Attention => {
    const use = { dimensions: headDim, pairing: "neighbours" } as const;
    const chunkSize = chunks[index];
    return groupedQuery(
      layer,
      sizes,
      { qkv: bias, output: bias },
      {
        ...(rotates[index] ? { rope: { rope: 0, ...use } } : growth && { queryRope: { rope: 1, ...use } }),
        ...(rotates[index] && hasNorms && { queryNorm: l2, keyNorm: l2 }),
        ...(chunkSize !== undefined && { chunkSize }),
      },
    );
  };
  return decoderOf(input, {
    sizes,
    ropes: [rope, ...(growth ? [{ theta: rope.theta, dimensions: headDim, scaling: NOTHING_TURNS, growth }] : [])],
    layer: (layer, index) => normsBefore(layer, hidden, norm, [attention(layer, index), feedForward(layer, index)]),
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** Factor on queries in layers that do not rotate. */
function readTemperature(config: ModelConfig): Rope["growth"] {
  if (config.boolean("attn_temperature_tuning", true)) {
    return {
      beta: config.number("attn_scale", 0.1),
      every: config.positiveInteger("floor_scale", 8192),
      offset: 1,
    };
  }
  for (const key of ["attn_scale", "floor_scale"]) config.ignore(key, "attn_temperature_tuning is false");
  return undefined;
}

/** By `no_rope_layers`, in which 1 stands for a layer that rotates; empty counts as absent. */
function readRotatingLayers(config: ModelConfig, layers: number): readonly boolean[] {
  const list = config.optionalNumbers("no_rope_layers") ?? [];
  if (list.length === 0) {
    const interval = config.positiveInteger("no_rope_layer_interval", 4);
    return Array.from({ length: layers }, (_, layer) => (layer + 1) % interval !== 0);
  }
  config.ignore("no_rope_layer_interval", "no_rope_layers says which layers rotate");
  if (list.length >= layers && list.every((entry) => entry === 0 || entry === 1)) {
    return list.slice(0, layers).map((entry) => entry === 1);
  }
  throw new CheckpointError(
    `${config.nameOf("no_rope_layers")}: expected 0 or 1 for each of ${layers} layers, found ${shortJson(list)}`,
  );
}

function readChunks(config: ModelConfig, layers: number, rotates: readonly boolean[]): (number | undefined)[] {
  const types = layerTypes(config, layers, ["full_attention", "chunked_attention"]);
  const isCut = types?.map((type) => type === "chunked_attention") ?? rotates;
  // With null transformers could make no mask.
  const size = isCut.includes(true) ? config.positiveInteger("attention_chunk_size", 8192) : undefined;
  if (size === undefined) config.ignore("attention_chunk_size", "no layer is cut into chunks");
  return isCut.map((cut) => (cut ? size : undefined));
}

/**
 * Experts beside a shared one in the layers that `moe_layers` names, or in every n-th; a wider feed-forward in the
 * others.
 */
function readFeedForwards(config: ModelConfig, { hidden, layers }: Sizes): (layer: LayerNames, index: number) => Block {
  const sizes = readMixture(config, hidden, { experts: ["num_local_experts"], intermediate: "intermediate_size" });
  const { intermediate, activation } = sizes;
  const list = config.optionalNumbers("moe_layers");
  const step = list === undefined ? config.positiveInteger("interleave_moe_layer_step", 1) : 1;
  if (list !== undefined) config.ignore("interleave_moe_layer_step", "moe_layers says which layers have experts");
  const hasExperts = Array.from({ length: layers }, (_, layer) => list?.includes(layer) ?? (layer + 1) % step === 0);
  if (!hasExperts.includes(false)) config.ignore("intermediate_size_mlp", "every layer has experts");
  const wide = hasExperts.includes(false) ? config.positiveInteger("intermediate_size_mlp", 16_384) : 0;
  return (layer, index) => {
    if (!hasExperts[index]) return gated(layer, hidden, { intermediate: wide, activation });
    const prefix = layer.feedForward;
    const stacks = { gateUp: `${prefix}.experts.gate_up_proj`, down: `${prefix}.experts.down_proj` };
    const shared = { feedForward: gatedAt(`${prefix}.shared_expert`, hidden, { intermediate, activation }) };
    const router = scoreRouter(`${prefix}.router`, sizes, { score: "sigmoid" });
    return { ...mixture(router, expertsOfStacks(stacks, sizes, "inputs-first"), shared), weighted: "input" };
  };
}
