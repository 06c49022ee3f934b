// EXAONE 4: norms after the blocks and of each head of q and k; where layers have a window, only those rotate.

import type { Decoder } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  headNorms,
  normsBehind,
  rmsNormOf,
  rotateAll,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";
import { slidingWindows, uniformWindow } from "../windows.js";

export function describeExaone4(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 32 });
  const { hidden } = sizes;
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const rope = readRope(config, sizes.headDim);
  const window = uniformWindow(config, 4096);
  const isInTypes = config.has("layer_types") || window === undefined;
  if (isInTypes) config.ignore("sliding_window_pattern", "layer_types says which layers have the window, if any has");
  const period = isInTypes ? 1 : config.positiveInteger("sliding_window_pattern", 4);
  const windows = slidingWindows(config, sizes.layers, window, (layer) => (layer + 1) % period !== 0);
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer, index) => {
      const rotates = window === undefined || windows[index] !== undefined;
      const attention = groupedQuery(
        layer,
        sizes,
        {},
        {
          ...(rotates && { rope: rotateAll(rope) }),
          ...{ window: windows[index], ...headNorms(layer, sizes, norm) },
        },
      );
      return normsBehind(layer, hidden, norm, [attention, gated(layer, hidden, inner)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
  });
}
