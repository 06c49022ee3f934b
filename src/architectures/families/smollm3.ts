// SmolLM 3: Llama without rotation in every fourth layer, and a window in some layers, if it is used.

import { CheckpointError } from "../../errors.js";
import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import { type ModelConfig, shortJson } from "../model-config.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, windowIfUsed } from "../windows.js";

export function describeSmolLm3(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 4 });
  const window = windowIfUsed(config);
  config.ignore("max_window_layers", "a key of Qwen: in SmolLM 3, layer_types says which layers have the window");
  const rotates = rotatingLayers(config, sizes.layers);
  const bias = config.boolean("attention_bias", false);
  return llamaLike(input, {
    sizes,
    attentionBias: { qkv: bias, output: bias },
    feedForwardBias: config.boolean("mlp_bias", false),
    windows: slidingWindows(config, sizes.layers, window, (layer) => !rotates(layer)),
    rope: { defaultTheta: 2_000_000 },
    rotates,
    tied: true,
  });
}

/** By `no_rope_layers`, in which 1 stands for a layer that rotates, or all but every n-th. */
function rotatingLayers(config: ModelConfig, layers: number): (layer: number) => boolean {
  const list = config.optionalNumbers("no_rope_layers");
  if (list === undefined) {
    const interval = config.positiveInteger("no_rope_layer_interval", 4);
    return (layer) => (layer + 1) % interval !== 0;
  }
  config.ignore("no_rope_layer_interval", "no_rope_layers says which layers rotate");
  if (list.length >= layers && list.every((entry) => entry === 0 || entry === 1)) return (layer) => list[layer] === 1;
  throw new CheckpointError(
    `${config.nameOf("no_rope_layers")}: expected 0 or 1 for each of ${layers} layers, found ${shortJson(list)}`,
  );
}
