// What a user is told of quantized weights. Pure.

import type { Decoder } from "../architectures/description.js";

/** That engines may compute a K and V that are not quite those measured. */
export function quantizationWarnings({ quantization }: Decoder): string[] {
  if (quantization?.activations !== true) return [];
  return [
    `The weights are quantized (${quantization.method}), and engines quantize what they multiply them with, too. Here activations keep 16 bits or more, so the K and V of engines may differ a little.`,
  ];
}
