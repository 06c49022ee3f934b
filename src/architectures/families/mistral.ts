// Mistral 7B and its successors: no biases, one window for every layer.

import type { Decoder } from "../description.js";
import { llamaLike } from "../llama-like.js";
import type { FamilyInput } from "../parts.js";
import { readSizes } from "../sizes.js";
import { noWindows, uniformWindow } from "../windows.js";

export function describeMistral(input: FamilyInput): Decoder {
  const { config } = input;
  noWindows(config);
  const sizes = readSizes(config, { kvHeads: 8 });
  const window = uniformWindow(config, 4096);
  return llamaLike(input, { sizes, windows: Array.from({ length: sizes.layers }, () => window) });
}
