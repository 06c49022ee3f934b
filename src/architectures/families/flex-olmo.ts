// FlexOlmo: OLMo 2 with experts in every layer.

import type { RmsNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import { expertsOf, mixture, normalisedAsSaid, readMixture, scoreRouter } from "../moe-parts.js";
import {
  decoderOf,
  type FamilyInput,
  groupedQuery,
  normsBehind,
  projectionNorms,
  rmsNormOf,
  rotateAll,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";

export function describeFlexOlmo(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const plainNorm = rmsNormOf(config);
  const norm = (name: string, size: number): RmsNorm => ({ ...plainNorm(name, size), product: "float32" });
  const rope = readRope(config, sizes.headDim, { defaultTheta: 500_000 });
  const bias = config.boolean("attention_bias", false);
  const experts = readMixture(config, sizes.hidden, { intermediate: "intermediate_size" });
  const weights = normalisedAsSaid(config, false);
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => {
      const norms = projectionNorms(layer, sizes, norm);
      const attention = groupedQuery(layer, sizes, { qkv: bias, output: bias }, { rope: rotateAll(rope), ...norms });
      const router = scoreRouter(`${layer.feedForward}.gate`, experts, weights);
      return normsBehind(layer, sizes.hidden, norm, [
        attention,
        mixture(router, expertsOf(`${layer.feedForward}.experts`, experts)),
      ]);
    },
    finalNorm: norm(names.finalNorm, sizes.hidden),
  });
}
