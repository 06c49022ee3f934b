// HyperCLOVA X: Granite with logits multiplied where Granite divides, and norms after the blocks, where they are used.

import type { Decoder } from "../description.js";
import { type FamilyInput, rotateAll } from "../parts.js";
import { readRope } from "../rope.js";
import { readSizes } from "../sizes.js";
import { graniteLike } from "./granite.js";

export function describeHyperClovaX(input: FamilyInput): Decoder {
  const { config } = input;
  const sizes = readSizes(config);
  const rope = readRope(config, sizes.headDim);
  const scale = config.optionalPositiveNumber("attention_multiplier");
  return graniteLike(input, {
    sizes,
    ropes: [rope],
    attention: () => ({ rope: rotateAll(rope), ...(scale !== undefined && { scale }) }),
    logits: config.positiveNumber("logits_scaling", 1),
    ...(config.boolean("use_post_norm", false) && { postNorms: ["post_norm1", "post_norm2"] }),
  });
}
