// Which layers of the Qwen families have a window: no family itself.

import { UnsupportedModelError } from "../../errors.js";
import type { ModelConfig } from "../model-config.js";
import { layerTypes, uniformWindow } from "../parts.js";

/**
 * `layer_types` says which layers have the window, else those from max_window_layers on.
 * @throws UnsupportedModelError when a layer is to have a window that is not there
 */
export function windowsOfUpperLayers(config: ModelConfig, layers: number): (number | undefined)[] {
  const isUsed = config.boolean("use_sliding_window", false);
  const window = isUsed ? uniformWindow(config, 4096) : undefined;
  if (!isUsed) config.ignore("sliding_window", "use_sliding_window is false");
  const types = layerTypes(config, layers, ["full_attention", "sliding_attention"]);
  if (types === undefined) {
    const first = config.count("max_window_layers", 28);
    return Array.from({ length: layers }, (_, layer) => (layer >= first ? window : undefined));
  }
  config.ignore("max_window_layers", "layer_types says which layers have the window");
  return types.map((type, layer) => {
    if (type === "full_attention") return undefined;
    if (window !== undefined) return window;
    throw new UnsupportedModelError(
      `${config.nameOf("layer_types")}: layer ${layer} is "${type}" with use_sliding_window ${isUsed}: not supported`,
    );
  });
}
