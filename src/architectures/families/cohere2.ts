// Command R7B and A: Command R with a window in three of four layers; only those rotate.

import type { Decoder } from "../description.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";
import { cohereLike } from "./cohere.js";

const AS_HERE = "what this family is anyway";

export function describeCohere2(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const hasTypes = config.has("layer_types");
  const period = hasTypes ? 1 : config.positiveInteger("sliding_window_pattern", 4);
  if (hasTypes) {
    for (const key of ["sliding_window_pattern", "layer_switch"]) {
      config.ignore(key, "layer_types says which layers have the window");
    }
  } else config.ignoreIf("layer_switch", [period], "says the same as sliding_window_pattern");
  config.ignoreIf("order_of_interleaved_layers", ["local_attn_first"], AS_HERE);
  config.ignoreIf("position_embedding_type", ["rope_gptj"], AS_HERE);
  config.ignoreIf("rotary_pct", [1], AS_HERE);
  config.ignoreIf("use_parallel_block", [true], AS_HERE);
  config.ignoreIf("use_gated_activation", [true], AS_HERE);
  config.ignore("use_parallel_embedding", "how the weights were divided in training");
  config.ignore("use_embedding_sharing", "tie_word_embeddings is read");
  config.ignore("cache_implementation", "how transformers stores its cache");
  const windows = slidingWindows(
    config,
    sizes.layers,
    uniformWindow(config, 4096),
    (layer) => (layer + 1) % period !== 0,
  );
  return cohereLike(input, { sizes, windows, rotates: (layer) => windows[layer] !== undefined });
}
