// Granite 4: Mamba-2 or attention, with or without rotation, then experts with a shared one, or the shared one alone.

import { UnsupportedModelError } from "../../errors.js";
import type { Block } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { gatedFusedAt } from "../moe-parts.js";
import { type FamilyInput, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { layersWithAttention } from "../state-space-parts.js";
import type { LayerNames } from "../tensor-names.js";
import { mambaWithNorm } from "./bamba.js";
import { graniteLike } from "./granite.js";
import { graniteExperts } from "./granite-moe.js";

export function describeGraniteMoeHybrid(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const scale = config.positiveNumber("attention_multiplier", 1);
  const isRotated = readRotation(config);
  const key = config.has("layers_block_type") ? "layers_block_type" : "layer_types";
  const hasAttention = layersWithAttention(config, sizes.layers, key) ?? [];
  const mamba = mambaWithNorm(config, sizes.hidden, 1e-6);
  if (!isRotated) {
    const because = 'position_embedding_type is not "rope": nothing rotates';
    for (const unread of ["rope_theta", "rope_scaling", "rope_parameters"]) config.ignore(unread, because);
  }
  config.ignoreIf("normalization_function", [undefined, "rmsnorm"], "the only norm that there is");
  const ropes = isRotated ? [readRope(config, sizes.headDim)] : [];
  const [rope] = ropes;
  return graniteLike(input, {
    ...{ sizes, ropes },
    mixer: (layer, index) => (hasAttention[index] ? undefined : mamba(layer)),
    attention: () => ({ scale, ...(rope && { rope: rotateAll(rope) }) }),
    feedForward: feedForwardOf(input),
    logits: 1 / config.positiveNumber("logits_scaling", 1),
  });
}

/** @throws UnsupportedModelError for another embedding of positions than RoPE */
function readRotation(config: ModelConfig): boolean {
  const key = "position_embedding_type";
  const type = config.string(key, "nope");
  if (type === "rope" || type === "nope") return type === "rope";
  throw new UnsupportedModelError(`${config.nameOf(key)}: "${type}" is not supported; supported: rope, nope`);
}

function feedForwardOf(input: FamilyInput): (names: LayerNames) => Block {
  const { config } = input;
  const intermediate = config.positiveInteger("shared_intermediate_size", 1024);
  if (config.count("num_local_experts", 8) > 0) return graniteExperts(input, intermediate);
  for (const key of ["intermediate_size", "num_experts_per_tok"]) config.ignore(key, "num_local_experts is 0");
  const hidden = config.positiveInteger("hidden_size");
  const inner = { intermediate, activation: readActivation(config) };
  return (layer) => {
    const inShared = (name: string) => `${layer.of("shared_mlp")}.${name}`;
    return gatedFusedAt({ gateUp: inShared("input_linear"), down: inShared("output_linear") }, hidden, inner);
  };
}
