// Mistral 7B and its successors, and Ministral: no biases, and one window, in every layer or in those that `layer_types` names.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";

/** transformers takes a Mistral with `layer_types` for a Ministral, so both are this. */
export function describeMistral(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config, { kvHeads: 8 });
  const windows = slidingWindows(config, sizes.layers, uniformWindow(config, 4096), () => true);
  return llamaLike(input, { sizes, windows });
}
