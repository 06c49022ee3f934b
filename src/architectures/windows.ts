// Which layers of a decoder have a sliding window, as config.json says it. Pure data out; knows no block.

import { CheckpointError, UnsupportedModelError } from "../errors.js";
import { type ModelConfig, shortJson } from "./model-config.js";

/** No layer has a window: `layer_types`, where it is written down, says so, too. */
export function noWindows(config: ModelConfig): void {
  const other = config.optionalStrings("layer_types")?.find((type) => type !== "full_attention");
  if (other === undefined) return;
  throw new UnsupportedModelError(
    `${config.nameOf("layer_types")}: "${other}" is not understood for model_type "${config.string("model_type")}"`,
  );
}

/** One window for every layer; null is none. @param fallback transformers' default when the key is absent, not null */
export function uniformWindow(config: ModelConfig, fallback?: number): number | undefined {
  return config.mentions("sliding_window") || fallback === undefined
    ? config.optionalPositiveInteger("sliding_window")
    : config.positiveInteger("sliding_window", fallback);
}

/** The same if `use_sliding_window` is true; otherwise none. */
export function windowIfUsed(config: ModelConfig, fallback?: number): number | undefined {
  if (config.mentions("sliding_window") && !config.has("sliding_window")) {
    config.ignore("use_sliding_window", "sliding_window is null: there is none to use");
    return undefined;
  }
  if (config.boolean("use_sliding_window", false)) return uniformWindow(config, fallback);
  config.ignore("sliding_window", "use_sliding_window is false");
  return undefined;
}

/**
 * `layer_types`, one per layer, or another list like it.
 * @param known what the family understands
 * @returns undefined when the key is absent
 */
export function layerTypes<Type extends string>(
  config: ModelConfig,
  layers: number,
  known: readonly Type[],
  key = "layer_types",
): readonly Type[] | undefined {
  const types = config.optionalStrings(key);
  if (types === undefined) return undefined;
  if (types.length !== layers) {
    throw new CheckpointError(
      `${config.nameOf(key)}: expected ${layers} entries, one per layer, found ${types.length}`,
    );
  }
  return types.map((type) => {
    const found = known.find((name) => name === type);
    if (found !== undefined) return found;
    throw new UnsupportedModelError(
      `${config.nameOf(key)}: "${type}" is not understood for model_type "${config.string("model_type")}"; understood: ${known.join(", ")}`,
    );
  });
}

export type AttentionType = "full_attention" | "sliding_attention";
const ATTENTION_TYPES: readonly AttentionType[] = ["full_attention", "sliding_attention"];

/**
 * The window in the layers that slide.
 * @param types of the layers @param window undefined: none @param deniedBy the key that says so
 * @throws UnsupportedModelError when a layer is to have a window that is not there
 */
export function windowsByType(
  config: ModelConfig,
  types: readonly AttentionType[],
  window: number | undefined,
  deniedBy: "sliding_window" | "use_sliding_window" = "sliding_window",
): (number | undefined)[] {
  return types.map((type, layer) => {
    if (type === "full_attention") return undefined;
    if (window !== undefined) return window;
    const found = shortJson(config.peek(deniedBy) ?? (deniedBy === "sliding_window" ? null : false));
    throw new UnsupportedModelError(
      `${config.nameOf("layer_types")}: layer ${layer} is "${type}" with ${deniedBy} ${found}: not supported`,
    );
  });
}

/**
 * The window in the layers that `layer_types` calls sliding, or where that is absent, in those that the family says.
 * @throws UnsupportedModelError as windowsByType
 */
export function slidingWindows(
  config: ModelConfig,
  layers: number,
  window: number | undefined,
  byDefault: (layer: number) => boolean,
): (number | undefined)[] {
  const types = layerTypes(config, layers, ATTENTION_TYPES);
  if (types !== undefined) return windowsByType(config, types, window);
  return Array.from({ length: layers }, (_, layer) => (byDefault(layer) ? window : undefined));
}

/**
 * Of Qwen: `layer_types` says which layers have the window, else those from max_window_layers on.
 * @throws UnsupportedModelError as windowsByType
 */
export function windowsOfUpperLayers(config: ModelConfig, layers: number): (number | undefined)[] {
  const types = layerTypes(config, layers, ATTENTION_TYPES);
  if (types?.every((type) => type === "full_attention")) {
    const because = "layer_types says that no layer has a window";
    for (const key of ["use_sliding_window", "sliding_window", "max_window_layers"]) config.ignore(key, because);
    return types.map(() => undefined);
  }
  const window = windowIfUsed(config, 4096);
  if (types !== undefined) {
    config.ignore("max_window_layers", "layer_types says which layers have the window");
    return windowsByType(config, types, window, "use_sliding_window");
  }
  if (window === undefined) config.ignore("max_window_layers", "no layer has a window");
  const first = config.count("max_window_layers", 28);
  return Array.from({ length: layers }, (_, layer) => (layer >= first ? window : undefined));
}

/**
 * `layer_types`; where it is absent, every layer slides whose number does not divide by the pattern, counted from 1.
 * @param pattern that transformers takes
 */
export function typesByPattern(config: ModelConfig, layers: number, pattern: number): readonly AttentionType[] {
  return (
    layerTypes(config, layers, ATTENTION_TYPES) ??
    Array.from({ length: layers }, (_, index) => ((index + 1) % pattern === 0 ? "full_attention" : "sliding_attention"))
  );
}
