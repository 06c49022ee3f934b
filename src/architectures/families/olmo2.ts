// OLMo 2: norms after the blocks instead of before them, and norms over the whole of q and k.

import type { RmsNorm } from "../blocks.js";
import type { Decoder } from "../description.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  postNorm,
  projectionNorms,
  rmsNormOf,
  rotateAll,
} from "../parts.js";
import { readRope } from "../rope.js";
import { readActivation, readSizes } from "../sizes.js";

export function describeOlmo2(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config);
  const plainNorm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  const norm = (name: string, size: number): RmsNorm => ({ ...plainNorm(name, size), product: "float32" });
  const rope = readRope(config, sizes.headDim);
  const bias = config.boolean("attention_bias", false);
  const inner = { intermediate: config.positiveInteger("intermediate_size"), activation: readActivation(config) };
  return decoderOf(input, {
    sizes,
    ropes: [rope],
    layer: (layer) => [
      postNorm(
        groupedQuery(
          layer,
          sizes,
          { qkv: bias, output: bias },
          { rope: rotateAll(rope), ...projectionNorms(layer, sizes, norm) },
        ),
        norm(layer.of("post_attention_layernorm"), sizes.hidden),
      ),
      postNorm(gated(layer, sizes.hidden, inner), norm(layer.of("post_feedforward_layernorm"), sizes.hidden)),
    ],
    finalNorm: norm(names.finalNorm, sizes.hidden),
  });
}
